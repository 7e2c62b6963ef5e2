//! The only memory map, read-only, and honest about what that means.
//!
//! A map is sound only while nobody changes the mapped bytes. The engine maps
//! committed bytes alone and never overwrites those with other values (slots
//! are written once); another program that scribbles over a cube, or cuts it
//! short while it is mapped, breaks that promise as it would for any file.
//!
//! A page that is not there any more, or that the disk does not deliver, comes as
//! SIGBUS in the middle of whatever reads it. Nothing can go on from there, so the
//! handler says which file it was and ends the program with [`FAULTED`]. What was
//! committed stays: nothing is written through a map.

#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use memmap2::{Advice, Mmap, MmapOptions};

use crate::error::{Error, IoContext, Result, show_path};

/// Exit status of a program that met a page it could not have: EX_IOERR of
/// `sysexits.h`.
pub const FAULTED: i32 = 74;

/// A map of a file's first bytes.
#[derive(Clone)]
pub struct Map(Arc<Mapped>);

struct Mapped {
    map: Mmap,
    watched: Watched,
}

/// A part of a map, which it keeps alive.
pub struct View {
    map: Map,
    start: usize,
    end: usize,
}

impl Map {
    /// Maps the first `bytes` of `file`, which is at least that long; `name` is
    /// what a message calls it.
    pub fn new(file: &File, name: &Path, bytes: usize) -> Result<Map> {
        // SAFETY: the map is read-only, and the engine overwrites no byte that
        // a commit can reach (module text). `bytes` is not past the end of the
        // file, so no page of the map is without a file behind it.
        let map = unsafe { MmapOptions::new().len(bytes).map(file) }.doing("cannot map")?;
        // A profile touches one page in megabytes; default read-ahead would
        // read the megabytes. What is wanted is asked for with `will_need`.
        // Advice is only advice: a system without it still reads right.
        let _ = map.advise(Advice::Random);
        let watched = Watched::new(map.as_ptr() as usize, map.len(), name)?;
        Ok(Map(Arc::new(Mapped { map, watched })))
    }

    /// How many bytes are mapped.
    pub fn len(&self) -> usize {
        self.0.map.len()
    }

    /// Is nothing mapped?
    pub fn is_empty(&self) -> bool {
        self.0.map.is_empty()
    }

    /// The bytes `start..end`; `None` when the map ends before.
    pub fn view(&self, start: usize, end: usize) -> Option<View> {
        (start <= end && end <= self.len()).then(|| View {
            map: self.clone(),
            start,
            end,
        })
    }

    /// Starts reading the bytes `start..start + len` from the disk.
    pub fn will_need(&self, start: usize, len: usize) {
        if start < self.len() {
            let len = len.min(self.len() - start);
            let _ = self.0.map.advise_range(Advice::WillNeed, start, len);
        }
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map.0.map[self.start..self.end]
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Before the addresses can be another map's.
        self.watched.place.start.store(0, Ordering::Release);
    }
}

/// So many maps at once are known by name.
const MAX_WATCHED: usize = 1024;

/// Where a map is, and what to say when a page of it cannot be had. A place whose
/// `start` is 0 is free.
struct Place {
    start: AtomicUsize,
    end: AtomicUsize,
    name: AtomicPtr<u8>,
    name_len: AtomicUsize,
}

static PLACES: [Place; MAX_WATCHED] = [const {
    Place {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        name: AtomicPtr::new(ptr::null_mut()),
        name_len: AtomicUsize::new(0),
    }
}; MAX_WATCHED];

/// A place that is being filled: no address is that high.
const FILLING: usize = usize::MAX;

/// The place of one map, and the name that it points to.
struct Watched {
    place: &'static Place,
    _name: Box<[u8]>,
}

impl Watched {
    fn new(start: usize, len: usize, name: &Path) -> Result<Watched> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        let name: Box<[u8]> = show_path(name).into_bytes().into();
        let take = |place: &&Place| {
            let (taken, not) = (Ordering::AcqRel, Ordering::Relaxed);
            let done = place.start.compare_exchange(0, FILLING, taken, not);
            done.is_ok()
        };
        let place = PLACES.iter().find(take).ok_or_else(|| {
            Error::unsupported(format!("more than {MAX_WATCHED} cubes are open at once"))
        })?;
        place.end.store(start + len, Ordering::Release);
        place
            .name
            .store(name.as_ptr().cast_mut(), Ordering::Release);
        place.name_len.store(name.len(), Ordering::Release);
        place.start.store(start, Ordering::Release);
        Ok(Watched { place, _name: name })
    }
}

/// Asks the system to call [`faulted`] when a page cannot be had.
fn install() {
    // SAFETY: all zeros is a valid `sigaction`, and the handler has the type that
    // SA_SIGINFO asks for. It does only what a handler may (see there). Failure
    // leaves the system's way, which is to end the program by the signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = faulted as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
    }
}

/// Says which file it was, and ends the program. Anything else that raises
/// SIGBUS ends it by the signal, as if this were not there.
extern "C" fn faulted(_signal: i32, about: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    static SAYING: AtomicBool = AtomicBool::new(false);
    // SAFETY: the system hands over a valid `siginfo_t`, whose address means
    // something when the code says that the system itself raised the signal. Only
    // calls that a handler may make follow, and atomics; nothing is allocated.
    unsafe {
        let address = match (*about).si_code > 0 {
            true => (*about).si_addr() as usize,
            false => 0,
        };
        // Whoever faulted reads through the map, so that map and its place stay
        // while this runs; of other places no start and end mix, for a start that
        // is the same before and after belongs to one map.
        let place = PLACES.iter().find(|place| {
            let start = place.start.load(Ordering::Acquire);
            let inside = start <= address && address < place.end.load(Ordering::Acquire);
            start != 0 && inside && place.start.load(Ordering::Acquire) == start
        });
        let Some(place) = place else {
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
            libc::raise(libc::SIGBUS);
            return;
        };
        if SAYING.swap(true, Ordering::AcqRel) {
            // Another thread is about to end the program.
            loop {
                libc::pause();
            }
        }
        let name = place.name.load(Ordering::Acquire);
        let len = place.name_len.load(Ordering::Acquire);
        let at = address - place.start.load(Ordering::Acquire);
        // SAFETY: the name lives as long as the map.
        let name = std::slice::from_raw_parts(name, len);
        let mut digits = [0; 20];
        let at = decimal(at, &mut digits);
        let parts: [&[u8]; 7] = [
            b"cube: ",
            name,
            b": cannot read at byte ",
            at,
            b": another program cut the file short, or the disk failed\nhint: cube check --deep ",
            name,
            b" tells what is whole; nothing was written through the map\n",
        ];
        let parts = parts.map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        libc::writev(2, parts.as_ptr(), 7);
        libc::_exit(FAULTED)
    }
}

/// A number in decimal digits, without any help.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b"0123456789"[number % 10];
        number /= 10;
        if number == 0 {
            return &digits[first..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_full() {
        let mut digits = [0; 20];
        for number in [0, 7, 10, 4096, usize::MAX] {
            let found = decimal(number, &mut digits);
            assert_eq!(found, number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_place_is_given_back_with_its_map() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        // Many more than there are places.
        for _ in 0..3 * MAX_WATCHED {
            let map = Map::new(&file, Path::new("a"), 4096).unwrap();
            let place = map.0.watched.place;
            assert_eq!(
                place.start.load(Ordering::Acquire),
                map.0.map.as_ptr() as usize
            );
        }
    }
}
