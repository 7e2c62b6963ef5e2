# Two commands do it all on a fresh machine: `make demo` and `make test`.

CUBE = target/release/cube
NIGHT = target/demo/night.cube

.PHONY: demo test build

build:
	cargo build --release

# The main job on the frames in testdata: assemble them, ask how big it got, and
# look at one pixel through all frames.
demo: build
	@rm -rf target/demo && mkdir -p target/demo
	$(CUBE) append $(NIGHT) testdata/frames/*.fits
	$(CUBE) info $(NIGHT)
	$(CUBE) slice $(NIGHT) --axis z --at 31,22

test:
	cargo test
