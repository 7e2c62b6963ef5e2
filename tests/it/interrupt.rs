//! `cube append` that is stopped, gone on with, or not alone.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::process::Child;
use std::time::Duration;

use crate::support::{Image, Scratch, finish, signal, skip, wait_until};

/// Frames of an append that takes long enough to be stopped.
const MANY: u16 = 600;

/// Side of such a frame.
const SIDE: u64 = 128;

/// All samples of frame `number` are its number.
fn many_frames(dir: &Scratch) -> String {
    let mut list = String::new();
    for number in 0..MANY {
        let name = format!("f{number:04}.fits");
        dir.frame(&name, &Image::new(&[SIDE, SIDE], |_| number));
        list += &format!("{name}\n");
    }
    list
}

/// An append of many frames. One fills a tile, so that the program looks up after each.
const APPEND: &str = "append a.cube --tile 64,64,1 @list";

/// Starts an append, and sends a signal once its cube has begun to grow.
fn stopped_by(dir: &Scratch, line: &str, name: &str) -> Child {
    let mut command = dir.command();
    let child = command.args(line.split_whitespace()).spawn().unwrap();
    let cube = dir.path("a.cube");
    wait_until("the cube grows", || {
        fs::metadata(&cube).is_ok_and(|about| about.len() > 40 * 2 * SIDE * SIDE)
    });
    signal(&child, "STOP");
    signal(&child, name);
    signal(&child, "CONT");
    child
}

/// Numbers of the frames in the cube, each of which must be whole.
fn whole_frames(dir: &Scratch) -> Vec<u16> {
    let samples = dir.samples::<u16>("a.cube");
    let frames = samples.chunks_exact((SIDE * SIDE) as usize);
    assert!(frames.remainder().is_empty());
    frames
        .map(|frame| {
            assert!(frame.iter().all(|sample| sample == &frame[0]));
            frame[0]
        })
        .collect()
}

#[test]
fn an_append_that_is_interrupted_keeps_whole_frames_and_resume_completes_it() {
    let dir = Scratch::new();
    dir.write("list", many_frames(&dir));
    for name in ["INT", "TERM"] {
        let _ = fs::remove_file(dir.path("a.cube"));
        let run = finish(stopped_by(&dir, APPEND, name)).ends(130).says(&[
            "cube: a.cube: interrupted",
            &format!("of {MANY}; the cube is 128 x 128 x "),
            "hint: the same command with --resume",
        ]);
        let kept = whole_frames(&dir);
        let expected: Vec<u16> = (0..kept.len() as u16).collect();
        assert_eq!(kept, expected, "the first frames, in order");
        assert!((1..usize::from(MANY)).contains(&kept.len()), "{}", run.err);
        run.says(&[&format!("kept {} frames of {MANY}", kept.len())]);
        assert_eq!(dir.info("a.cube")["frames"], kept.len());

        dir.ok(&format!("{APPEND} --resume")).says(&[
            &format!("{} frames added", usize::from(MANY) - kept.len()),
            &format!("{} there already", kept.len()),
        ]);
        assert_eq!(whole_frames(&dir), (0..MANY).collect::<Vec<_>>());
        dir.ok(&format!("{APPEND} --resume"))
            .says(&["0 frames added", &format!("{MANY} there already")]);
        assert_eq!(dir.info("a.cube")["frames"], MANY);
    }
}

#[test]
fn an_interrupted_append_at_the_start_is_completed_in_order() {
    let dir = Scratch::new();
    dir.write("list", many_frames(&dir));
    dir.frame("last.fits", &Image::new(&[SIDE, SIDE], |_| MANY));
    dir.ok("append a.cube --tile 64,64,1 last.fits");
    let line = "append a.cube --before @list";
    finish(stopped_by(&dir, line, "INT")).ends(130);
    let kept = whole_frames(&dir);
    assert!((2..usize::from(MANY)).contains(&kept.len()));
    assert_eq!(kept.last(), Some(&MANY));
    dir.ok(&format!("{line} --resume"));
    assert_eq!(whole_frames(&dir), (0..=MANY).collect::<Vec<_>>());
}

#[test]
fn an_append_that_is_killed_leaves_the_cube_as_it_was() {
    let dir = Scratch::new();
    dir.write("list", many_frames(&dir));
    dir.frame("first.fits", &Image::new(&[SIDE, SIDE], |_| 9999u16));
    dir.ok("append a.cube --tile 64,64,1 first.fits");
    let mut child = stopped_by(&dir, "append a.cube @list", "KILL");
    assert_eq!(child.wait().unwrap().code(), None, "it was killed");
    assert_eq!(whole_frames(&dir), [9999]);
    dir.ok("append a.cube --resume first.fits @list");
    let expected: Vec<u16> = [9999].into_iter().chain(0..MANY).collect();
    assert_eq!(whole_frames(&dir), expected);
    // A cube that was new is there, and empty; the same command fills it.
    fs::remove_file(dir.path("a.cube")).unwrap();
    stopped_by(&dir, APPEND, "KILL").wait().unwrap();
    dir.cube("slice a.cube -o -").fails(&["the cube is empty"]);
    assert_eq!(dir.info("a.cube")["frames"], 0);
    dir.ok(&format!("{APPEND} --resume"));
    assert_eq!(whole_frames(&dir), (0..MANY).collect::<Vec<_>>());
}

/// An append that waits for its list of names, which the caller can feed.
fn waiting(dir: &Scratch) -> (Child, File) {
    let fifo = dir.path("fifo");
    let _ = fs::remove_file(&fifo);
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from(0o600)).unwrap();
    let mut command = dir.command();
    let child = command
        .args(["append", "a.cube", "--files-from", "fifo"])
        .spawn()
        .unwrap();
    // This waits until the program has opened the other end.
    (child, File::create(&fifo).unwrap())
}

#[test]
fn a_signal_ends_an_append_that_has_not_begun_to_write_at_once() {
    for name in ["INT", "TERM", "HUP"] {
        let dir = Scratch::new();
        let (child, names) = waiting(&dir);
        signal(&child, name);
        finish(child).ends(130).says(&["cube: interrupted"]);
        drop(names);
        assert!(!dir.exists("a.cube"));
    }
}

fn resumable() -> Scratch {
    let dir = Scratch::new();
    for number in 1..=3i16 {
        dir.frame(
            &format!("{number}.fits"),
            &Image::new(&[3, 2], |k| number * 100 + k as i16),
        );
    }
    dir.ok("append a.cube 1.fits 2.fits");
    dir
}

#[test]
fn resume_leaves_out_frames_that_are_there_and_takes_the_others() {
    let dir = resumable();
    dir.ok("append a.cube --resume 1.fits 2.fits 3.fits")
        .says(&["1 frame added", "2 there already"]);
    assert_eq!(
        dir.profile("a.cube --axis z --at 1,1"),
        ["100", "200", "300"]
    );
    let generation = dir.info("a.cube")["generation"].clone();
    let before = dir.read("a.cube");
    dir.ok("append a.cube --resume 3.fits 2.fits 1.fits")
        .says(&["0 frames added", "3 there already"]);
    assert_eq!(dir.read("a.cube"), before, "nothing to do writes nothing");
    assert_eq!(dir.info("a.cube")["generation"], generation);
}

#[test]
fn resume_knows_a_touched_file_by_its_samples_and_takes_a_changed_one() {
    let dir = resumable();
    let touch = |name: &str| {
        let file = File::options().write(true).open(dir.path(name)).unwrap();
        let moment = std::time::SystemTime::now() + Duration::from_secs(100);
        file.set_modified(moment).unwrap();
    };
    touch("1.fits");
    dir.ok("append a.cube --resume 1.fits 2.fits")
        .says(&["0 frames added", "2 there already"]);
    dir.frame("2.fits", &Image::new(&[3, 2], |k| 900 + k as i16));
    touch("2.fits");
    dir.ok("append a.cube --resume 1.fits 2.fits")
        .says(&["1 frame added", "1 there already"]);
    assert_eq!(
        dir.profile("a.cube --axis z --at 3,2"),
        ["105", "205", "905"]
    );
    // The same bytes under another name are another frame.
    dir.write("4.fits", dir.read("1.fits"));
    dir.ok("append a.cube --resume 4.fits")
        .says(&["1 frame added"]);
}

#[test]
fn a_second_writer_fails_at_once_and_is_told_who_holds_the_cube() {
    let dir = resumable();
    let before = dir.read("a.cube");
    let held = File::open(dir.path("a.cube")).unwrap();
    held.lock().unwrap();
    let run = dir.cube("append a.cube 3.fits").fails(&[
        "a.cube: another program is writing to this cube",
        "hint: --wait waits",
    ]);
    let mut locks = String::new();
    let listed = File::open("/proc/locks").and_then(|mut file| file.read_to_string(&mut locks));
    match listed.is_ok() && locks.contains("FLOCK") {
        true => {
            run.says(&[&format!("process {}", std::process::id())]);
        }
        false => skip("this kernel does not list locks, so nobody is named"),
    }
    assert_eq!(dir.read("a.cube"), before);
    // Readers need no lock.
    assert_eq!(dir.profile("a.cube --axis z --at 1,1"), ["100", "200"]);
    drop(held);
    dir.ok("append a.cube 3.fits");
}

#[test]
fn a_writer_that_waits_goes_on_when_the_other_is_done() {
    let dir = resumable();
    let held = File::open(dir.path("a.cube")).unwrap();
    held.lock().unwrap();
    let mut command = dir.command();
    let mut child = command
        .args(["append", "--wait", "a.cube", "3.fits"])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    assert_eq!(dir.shape("a.cube"), [3, 2, 2]);
    rustix::fs::flock(held.as_fd(), rustix::fs::FlockOperation::Unlock).unwrap();
    finish(child).ends(0);
    assert_eq!(
        dir.profile("a.cube --axis z --at 1,1"),
        ["100", "200", "300"]
    );
}

#[test]
fn two_writers_that_wait_for_each_other_both_get_their_frames_in() {
    let dir = resumable();
    let start = || {
        let mut command = dir.command();
        let command = command.args(["append", "--wait", "a.cube", "3.fits", "1.fits"]);
        command.spawn().unwrap()
    };
    let children: Vec<Child> = (0..4).map(|_| start()).collect();
    for child in children {
        finish(child).ends(0);
    }
    let mut values = dir.profile("a.cube --axis z --at 1,1");
    assert_eq!(values.len(), 10);
    // Those of one command stand together.
    assert!(
        values
            .split_off(2)
            .chunks(2)
            .all(|two| two == ["300", "100"])
    );
}

#[test]
fn resume_tells_files_of_one_name_size_and_time_by_their_samples() {
    let dir = Scratch::new();
    for (folder, value) in [("d1", 1i16), ("d2", 2)] {
        fs::create_dir(dir.path(folder)).unwrap();
        dir.frame(&format!("{folder}/e.fits"), &Image::of(&[1, 1], &[value]));
        let file = File::options()
            .write(true)
            .open(dir.path(format!("{folder}/e.fits")))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .unwrap();
    }
    dir.ok("append a.cube d1/e.fits");
    dir.ok("append a.cube --resume d1/e.fits d2/e.fits");
    assert_eq!(dir.samples::<i16>("a.cube"), [1, 2]);
}

#[test]
fn one_signal_ends_the_wait_for_whoever_is_to_read_from_a_pipe() {
    let dir = Scratch::new();
    dir.frame("1.fits", &Image::new(&[3, 2], |k| k as u8));
    dir.ok("append a.cube 1.fits");
    let fifo = dir.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let mut command = dir.command();
    let child = command.args(["slice", "a.cube", "--format", "npy", "-o", "fifo"]);
    let child = child.spawn().unwrap();
    // It opens the cube first, and then waits.
    let opened = format!("/proc/{}/fd", child.id());
    wait_until("the cube is open", || {
        fs::read_dir(&opened).is_ok_and(|fds| {
            let mut links = fds.flatten().map(|fd| fs::read_link(fd.path()));
            links.any(|link| link.is_ok_and(|link| link.ends_with("a.cube")))
        })
    });
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "TERM");
    assert_eq!(finish(child).status, 130);
}
