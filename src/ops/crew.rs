//! Work shared between threads: numbered units, taken by whoever is free.
//!
//! What the threads find comes to the caller's thread, which alone talks to the edit.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;

use crate::error::Result;
use crate::turns::spawn;

/// One thread's share of a job.
pub(super) trait Worker: Send {
    /// What it finds.
    type Found: Send;

    /// Does one unit; `send` is false when nobody wants more.
    fn unit(&mut self, unit: u64, send: &mut dyn FnMut(Self::Found) -> bool) -> Result<()>;
}

/// Does these units with these workers, one thread each, and gives the workers
/// back.
///
/// # Errors
/// The first error of a worker, or of `take`.
pub(super) fn share<W: Worker>(
    workers: Vec<W>,
    units: Range<u64>,
    take: &mut dyn FnMut(W::Found) -> Result<()>,
) -> Result<Vec<W>> {
    let next = AtomicU64::new(units.start);
    let halted = AtomicBool::new(false);
    let (next, halted) = (&next, &halted);
    std::thread::scope(|scope| {
        let (sender, found) = mpsc::sync_channel(2 * workers.len());
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let sender = sender.clone();
                spawn(scope, move || -> Result<W> {
                    let mut work = || -> Result<()> {
                        while !halted.load(Ordering::Relaxed) {
                            let unit = next.fetch_add(1, Ordering::Relaxed);
                            if unit >= units.end {
                                break;
                            }
                            worker.unit(unit, &mut |found| sender.send(found).is_ok())?;
                        }
                        Ok(())
                    };
                    let done = work();
                    if done.is_err() {
                        halted.store(true, Ordering::Relaxed);
                    }
                    done.map(|()| worker)
                })
            })
            .collect();
        drop(sender);
        if threads.iter().any(Result::is_err) {
            halted.store(true, Ordering::Relaxed);
        }
        let mut taken = Ok(());
        for found in found {
            taken = take(found);
            if taken.is_err() {
                // The receiver goes with the loop, so nobody waits to send.
                halted.store(true, Ordering::Relaxed);
                break;
            }
        }
        let mut workers = Vec::new();
        for thread in threads {
            let join = |thread: ScopedJoinHandle<'_, Result<W>>| {
                let done = thread.join();
                done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            workers.push(thread.and_then(join));
        }
        taken?;
        workers.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    struct Adder {
        sum: u64,
        fails_at: u64,
    }

    impl Worker for Adder {
        type Found = u64;

        fn unit(&mut self, unit: u64, send: &mut dyn FnMut(u64) -> bool) -> Result<()> {
            if unit == self.fails_at {
                return Err(Error::input("no"));
            }
            self.sum += unit;
            send(unit);
            Ok(())
        }
    }

    fn adders(fails_at: u64) -> Vec<Adder> {
        let one = || Adder { sum: 0, fails_at };
        vec![one(), one(), one()]
    }

    #[test]
    fn every_unit_is_done_once() {
        let mut seen = vec![false; 1000];
        let workers = share(adders(u64::MAX), 0..1000, &mut |unit| {
            assert!(!std::mem::replace(&mut seen[unit as usize], true));
            Ok(())
        });
        assert!(seen.iter().all(|&seen| seen));
        let sum: u64 = workers.unwrap().iter().map(|worker| worker.sum).sum();
        assert_eq!(sum, 999 * 500);
    }

    #[test]
    fn the_first_error_ends_all() {
        let done = share(adders(40), 0..1 << 40, &mut |_| Ok(()));
        assert!(done.is_err());
        let mut left = 10;
        let done = share(adders(u64::MAX), 0..1 << 40, &mut |_| {
            left -= 1;
            match left {
                0 => Err(Error::input("enough")),
                _ => Ok(()),
            }
        });
        assert_eq!(
            done.err().map(|error| error.to_string()),
            Some("enough".into())
        );
    }
}
