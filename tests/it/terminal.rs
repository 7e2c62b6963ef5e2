//! What people meet first: help, completions, progress, the environment, and what the
//! program says in a terminal, a pipe and a log.

use std::ffi::OsStr;
use std::fs;

use crate::support::{Image, Run, Scratch, finish, python_with, skip};

const VERBS: [&str; 15] = [
    "append", "insert", "slice", "info", "clean", "combine", "delete", "move", "sort", "log",
    "undo", "check", "compact", "zarr", "refs",
];

fn frames(n: u64) -> Scratch {
    let dir = Scratch::new();
    for number in 1..=n {
        let image = Image::new(&[64, 48], move |k| (number * 100 + k % 7) as u16);
        dir.frame(&format!("{number}.fits"), &image);
    }
    dir
}

/// Runs the program with variables set.
fn with(dir: &Scratch, variables: &[(&str, &str)], line: &str) -> Run {
    let mut command = dir.command();
    command.envs(variables.iter().copied());
    finish(command.args(line.split_whitespace()).spawn().unwrap())
}

#[test]
fn short_help_is_one_screen_and_long_help_has_examples() {
    let dir = Scratch::new();
    let screen = [("COLUMNS", "80"), ("LINES", "24")];
    for verb in VERBS.into_iter().chain([""]) {
        let run = with(&dir, &screen, &format!("{verb} -h")).ends(0);
        let lines: Vec<&str> = run.out().lines().collect();
        assert!(lines.len() <= 24, "{verb}: {} lines", lines.len());
        let fits = |line: &&&str| line.starts_with("Usage: ") || line.chars().count() <= 80;
        assert_eq!(lines.iter().filter(fits).count(), lines.len(), "{verb}");
        let run = dir.ok(&format!("{verb} --help"));
        let examples = run.out().split("Examples:\n").nth(1);
        let examples = examples.unwrap_or_else(|| panic!("{verb} has no examples"));
        let shown = examples.lines().take_while(|line| !line.is_empty());
        for line in shown {
            let wanted = format!("  cube {verb}");
            assert!(
                line.starts_with(&wanted) || line.contains(" | cube "),
                "{line}"
            );
        }
    }
    let run = dir.ok("--help");
    for verb in VERBS {
        let line = format!("  {verb} ");
        let about = run.out().lines().find_map(|said| said.strip_prefix(&line));
        let about = about
            .unwrap_or_else(|| panic!("{verb} is not listed"))
            .trim();
        assert!(!about.is_empty(), "{verb}");
        assert!(dir.ok(&format!("{verb} --help")).out().starts_with(about));
    }
}

#[test]
fn mistyped_verbs_and_options_are_guessed() {
    let dir = Scratch::new();
    dir.cube("apend a.cube").ends(2).says(&["'append'"]);
    let run = dir.cube("append a.cube --resum").ends(2);
    run.says(&["'--resume'"]);
    dir.cube("").ends(2).says(&["Usage: cube <COMMAND>"]);
}

#[test]
fn manual_pages_and_completions_are_made() {
    let dir = Scratch::new();
    for (shell, sign) in [
        ("bash", "complete -F _cube"),
        ("zsh", "#compdef cube"),
        ("fish", "complete -c cube"),
    ] {
        let run = dir.ok(&format!("generate {shell}"));
        assert!(run.out().contains(sign), "{shell}");
        assert!(run.out().contains("maxiters"), "{shell}");
    }
    fs::create_dir(dir.path("man1")).unwrap();
    dir.ok("generate man --folder man1");
    for verb in VERBS {
        let page = fs::read_to_string(dir.path(format!("man1/cube-{verb}.1"))).unwrap();
        assert!(page.contains(".TH"), "{verb}");
        assert!(page.contains("Examples:"), "{verb}");
    }
    let page = fs::read_to_string(dir.path("man1/cube-append.1")).unwrap();
    assert!(page.contains("Wait for another program"), "{page}");
    assert!(dir.exists("man1/cube.1"));
    dir.cube("generate man --folder nowhere")
        .fails(&["nowhere: there is no such folder", "hint: mkdir"]);
    dir.cube("generate man").ends(2).says(&["--folder"]);
}

#[test]
fn logs_get_lines_of_progress_when_they_ask_for_them() {
    let dir = frames(5);
    let run = dir.ok("append a.cube 1.fits 2.fits");
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    let run = dir.ok("append a.cube --progress plain 3.fits 4.fits 5.fits");
    let lines: Vec<&str> = run.err.lines().collect();
    assert_eq!(lines.len(), 3, "{}", run.err);
    assert!(
        lines[0].starts_with("cube: examining: 3/3 in "),
        "{}",
        run.err
    );
    assert!(
        lines[1].starts_with("cube: appending: 3/3 18.4 kB in "),
        "{}",
        run.err
    );
    assert!(lines[1].ends_with("/s"), "{}", run.err);
    assert!(lines[2].starts_with("a.cube: 3 frames added"));
    assert!(!run.err.contains(['\r', '\x1b']));
    let run = dir.ok("clean a.cube --dry-run --progress plain --quiet");
    assert_eq!(run.err, "");
}

#[test]
fn options_come_from_the_environment_when_they_are_not_given() {
    let dir = frames(3);
    dir.ok("append a.cube 1.fits 2.fits 3.fits");
    for (name, value, what) in [
        ("CUBE_MEMORY", "12Q", "--memory"),
        ("CUBE_JOBS", "0", "--jobs"),
    ] {
        let run = with(&dir, &[(name, value)], "clean a.cube --dry-run");
        run.ends(2).says(&[what, value]);
    }
    let both = [("CUBE_MEMORY", "64M"), ("CUBE_JOBS", "1")];
    with(&dir, &both, "clean a.cube --dry-run").ends(0);
    // What is given counts.
    let wrong = [("CUBE_MEMORY", "12Q"), ("CUBE_JOBS", "0")];
    with(&dir, &wrong, "clean a.cube --dry-run --memory 64M --jobs 1").ends(0);
    // Half of it is for lines, and one of these needs more.
    let long = Image::new(&[1, 1, 200_000], |k| k as i64);
    dir.frame("long.fits", &long);
    dir.ok("append long.cube long.fits");
    with(&dir, &[("CUBE_MEMORY", "16M")], "clean long.cube --dry-run").fails(&["need", "8.39 MB"]);
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let dir = Scratch::new();
    let plain = dir.cube("append --nonsense").ends(2);
    assert!(!plain.err.contains('\x1b'));
    let forced = [("CLICOLOR_FORCE", "1")];
    let run = with(&dir, &forced, "append --nonsense").ends(2);
    assert!(run.err.contains('\x1b'));
    let both = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    let run = with(&dir, &both, "append --nonsense").ends(2);
    assert_eq!(run.err, plain.err);
}

#[test]
fn numbers_are_the_same_in_every_locale_and_read_back() {
    let dir = Scratch::new();
    let values = [0.1f32, 1e-30, 3.402_823_5e38, 16_777_217.0, -0.0];
    for (number, &value) in values.iter().enumerate() {
        dir.frame(&format!("{number}.fits"), &Image::of(&[1, 1], &[value]));
    }
    dir.ok("append a.cube --axis z 0.fits 1.fits 2.fits 3.fits 4.fits");
    let german = [("LC_ALL", "de_DE.UTF-8"), ("LANG", "de_DE.UTF-8")];
    let run = with(&dir, &german, "slice a.cube --axis z --at 1,1").ends(0);
    assert_eq!(run.out, dir.ok("slice a.cube --axis z --at 1,1").out);
    let rows = run.out().lines().skip(1);
    let read = rows.map(|row| row.split('\t').nth(1).unwrap().parse::<f32>().unwrap());
    let read: Vec<u32> = read.map(f32::to_bits).collect();
    assert_eq!(read, values.map(f32::to_bits));
}

#[test]
fn large_intermediate_results_go_to_tmpdir() {
    let dir = frames(1);
    // Frames on standard input are kept beside the cube; a folder that is none does
    // no harm.
    let mut command = dir.command();
    command.env("TMPDIR", "nowhere");
    command.stdin(fs::File::open(dir.path("1.fits")).unwrap());
    finish(command.args(["append", "a.cube", "-"]).spawn().unwrap()).ends(0);
    assert_eq!(dir.names(), ["1.fits", "a.cube"]);
}

/// What a pseudo-terminal of 60 columns gets.
const WATCHED: &str = r"
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    os.environ['TERM'] = 'xterm'
    fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack('4H', 24, 60, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    try:
        part = os.read(fd, 4096)
    except OSError:
        break
    if not part:
        break
    sys.stdout.buffer.write(part)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

fn watched(dir: &Scratch, python: impl AsRef<OsStr>, script: &str, line: &str) -> String {
    dir.write("watched.py", script);
    let output = std::process::Command::new(python)
        .args(["watched.py", env!("CARGO_BIN_EXE_cube")])
        .args(line.split(' '))
        .current_dir(dir.path("."))
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_terminal_sees_one_line_of_progress_which_goes_away() {
    let Some(python) = python_with("pty, fcntl") else {
        return;
    };
    let dir = Scratch::new();
    for number in 0..32u64 {
        let noise = move |k: u64| (k ^ number << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let image = Image::new(&[1024, 512], |k| (noise(k) >> 40) as f32);
        dir.frame(&format!("{number}.fits"), &image);
    }
    let frames: Vec<String> = (0..32).map(|number| format!("{number}.fits")).collect();
    dir.ok(&format!("append a.cube {}", frames.join(" ")));
    let begun = std::time::Instant::now();
    let line = "clean a.cube --jobs 1 --dry-run --maxiters all --sigma 1.1 --spread mad";
    let text = watched(&dir, python, WATCHED, line);
    let took = begun.elapsed();
    let mut drawn: u128 = 0;
    for part in text.split("\x1b[2K") {
        let line = part.split(['\r', '\n']).next().unwrap();
        if line.starts_with("cleaning") {
            assert!(line.chars().count() < 60, "{line:?}");
            drawn += 1;
        }
    }
    // It is drawn five times a second, and not at once.
    let least = took.as_millis() / 200 / 2;
    assert!(drawn >= least, "{took:?}, {text:?}");
    if least == 0 {
        skip(&format!("{took:?} are too short to see a line of progress"));
    }
    // What it was about stands alone at the end, a warning of so much noise before it.
    let last = text.rsplit("\x1b[2K").next().unwrap();
    let lines: Vec<&str> = last.lines().collect();
    assert!(lines[0].starts_with("cube: warning: 100 % of"), "{text:?}");
    assert!(lines[1].starts_with("a.cube: "), "{text:?}");
    assert_eq!(last.matches('\n').count(), 2, "{text:?}");
}

#[test]
fn nothing_is_drawn_between_the_lines_of_a_result() {
    const LINES: u64 = 300_000;
    let Some(python) = python_with("pty, fcntl") else {
        return;
    };
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[LINES], |k| k as f32));
    dir.ok("append a.cube 1.fits");
    // So slow a terminal sees progress, where there is any.
    let slow = WATCHED.replace(
        "    if not part:",
        "    import time; time.sleep(0.0005)\n    if not part:",
    );
    let text = watched(&dir, python, &slow, "slice a.cube --axis x --at 1,1");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("# x\tvalue"));
    for (k, line) in lines.enumerate() {
        assert_eq!(line, format!("{}\t{k}", k + 1));
    }
    assert_eq!(text.lines().count() as u64, LINES + 1);
}

#[test]
fn exit_statuses_are_those_of_the_guide() {
    let guide = include_str!("../../docs/guide.md");
    let rows = guide.split("| exit status | meaning |").nth(1).unwrap();
    let rows = rows.lines().skip(2).take_while(|row| row.starts_with('|'));
    let told: Vec<i32> = rows
        .map(|row| row.split('|').nth(1).unwrap().trim().parse().unwrap())
        .collect();
    // tests/it/faults.rs has 74, tests/it/interrupt.rs 130.
    assert_eq!(told, [0, 1, 2, 3, 74, 130]);
    let dir = frames(2);
    dir.write("bad.fits", b"nothing");
    let found = [
        dir.cube("append a.cube 1.fits").status,
        dir.cube("append a.cube bad.fits").status,
        dir.cube("append a.cube --nonsense").status,
        dir.cube("append a.cube --skip-bad bad.fits 2.fits").status,
    ];
    assert_eq!(found, told[..4]);
    let help = dir.ok("--help");
    let told = told.iter().map(|status| format!("{status:>5}  "));
    for status in told {
        assert!(
            help.out().lines().any(|line| line.starts_with(&status)),
            "{status}"
        );
    }
}
