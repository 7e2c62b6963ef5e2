# Two commands do it all on a fresh machine: `make demo` and `make test`.

CUBE = target/release/cube
NIGHT = target/demo/night.cube
PREFIX = /usr/local
DESTDIR =

# A program that has the C library in it starts in half the time: nothing is looked
# for and mapped first. Debian has what that needs beside the compiler, Fedora in
# glibc-static; elsewhere the library is shared, as always.
part = $(shell test -f "$$($(CC) -print-file-name=$(1))" && echo yes)
ifeq ($(call part,libc.a)$(call part,rcrt1.o),yesyes)
STATIC = -C target-feature=+crt-static
endif

.PHONY: demo test build install pages

build:
	cargo rustc --release --bin cube -- $(STATIC)

# The main job on the frames in testdata: assemble them, ask how big it got, and
# look at one pixel through all frames.
demo: build
	@rm -rf target/demo && mkdir -p target/demo
	$(CUBE) append $(NIGHT) testdata/frames/*.fits
	$(CUBE) info $(NIGHT)
	$(CUBE) slice $(NIGHT) --axis z --at 31,22

test:
	cargo test

# Manual pages and completions, which the program makes itself.
pages: build
	@mkdir -p target/pages/man1
	$(CUBE) generate man --folder target/pages/man1
	$(CUBE) generate bash > target/pages/cube.bash
	$(CUBE) generate zsh > target/pages/_cube
	$(CUBE) generate fish > target/pages/cube.fish

install: pages
	install -D $(CUBE) $(DESTDIR)$(PREFIX)/bin/cube
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 target/pages/man1/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -D -m 644 target/pages/cube.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/cube
	install -D -m 644 target/pages/_cube $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_cube
	install -D -m 644 target/pages/cube.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/cube.fish
