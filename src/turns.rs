//! Threads that take turns, or work ahead.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle, available_parallelism};

use crate::error::{IoContext, Result};

/// Starts a thread; a system that has no room for one more says so.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let started = Builder::new().spawn_scoped(scope, work);
    started.doing("cannot start a thread")
}

/// Takes a lock of threads that leave behind it nothing half done: whoever panicked may
/// have held it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads units with so many threads, the caller's among them, each into a buffer of
/// its own, and takes what was read in the order of the units. The thread that read a
/// unit takes it, too: what stands in the cache of one processor is slow to get to
/// another.
///
/// # Errors
/// The first error of `units`, `read` or `take`.
pub fn in_turn<U, B: Default, R>(
    threads: usize,
    units: impl Iterator<Item = U> + Send,
    read: &(impl Fn(U, &mut B) -> Result<R> + Sync),
    take: &mut (impl FnMut(&B, R) -> Result<()> + Send),
) -> Result<()> {
    let units = Mutex::new(units.zip(0..));
    let turns = &Turns {
        turn: Mutex::new(Turn {
            next: 0,
            is_over: false,
            take,
        }),
        moved: Condvar::new(),
    };
    let work = || -> Result<()> {
        let mut ends = Ends {
            turns,
            is_done: false,
        };
        let mut buffer = B::default();
        loop {
            let unit = lock(&units).next();
            let Some((unit, number)) = unit else {
                break;
            };
            let known = read(unit, &mut buffer)?;
            if !turns.take(number, |take| take(&buffer, known))? {
                break;
            }
        }
        ends.is_done = true;
        Ok(())
    };
    let work = &work;
    std::thread::scope(|scope| {
        // Where the system has no room for one more, it takes longer.
        let others: Vec<_> = (1..threads)
            .map_while(|_| spawn(scope, work).ok())
            .collect();
        let mut done = work();
        for other in others {
            let other = other.join();
            let other = other.unwrap_or_else(|panic| resume_unwind(panic));
            done = done.and(other);
        }
        done
    })
}

/// So many pieces of work at most are under way, however many processors there are.
const MOST_AHEAD: usize = 32;

/// Work that is done ahead, a thread for each piece of it, by as many as there are
/// processors; what comes of it is had in the order in which it began.
pub struct Ahead<T> {
    under_way: VecDeque<Work<T>>,
    most: usize,
}

enum Work<T> {
    Running(JoinHandle<Option<T>>),
    Done(Option<T>),
}

impl<T> Default for Ahead<T> {
    /// Nothing is under way.
    fn default() -> Ahead<T> {
        Ahead {
            under_way: VecDeque::new(),
            most: available_parallelism().map_or(1, |all| all.get().min(MOST_AHEAD)),
        }
    }
}

impl<T: Send + 'static> Ahead<T> {
    /// Begins another piece of work. Where as much as may be is under way, waits for the
    /// oldest, and gives what came of it.
    pub fn begin(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let oldest = match self.under_way.len() < self.most {
            true => None,
            false => self.oldest(),
        };
        // Where the system has no room for one more, this thread finds the work still there.
        let work = Arc::new(Mutex::new(Some(work)));
        let theirs = Arc::clone(&work);
        let started = Builder::new().spawn(move || run(&theirs));
        self.under_way.push_back(match started {
            Ok(thread) => Work::Running(thread),
            Err(_) => Work::Done(run(&work)),
        });
        oldest
    }

    /// Waits for the oldest piece of work that is under way.
    pub fn oldest(&mut self) -> Option<T> {
        match self.under_way.pop_front()? {
            Work::Running(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Work::Done(done) => done,
        }
    }
}

fn run<T>(work: &Mutex<Option<impl FnOnce() -> T>>) -> Option<T> {
    let work = lock(work).take();
    work.map(|work| work())
}

/// Whose turn it is, and what is done then.
struct Turns<'a, F> {
    turn: Mutex<Turn<'a, F>>,
    moved: Condvar,
}

struct Turn<'a, F> {
    next: u64,
    /// Somebody failed: there are no more turns.
    is_over: bool,
    take: &'a mut F,
}

impl<F> Turns<'_, F> {
    /// Waits for its turn and uses it; false when there are no more turns.
    fn take(&self, number: u64, done: impl FnOnce(&mut F) -> Result<()>) -> Result<bool> {
        let mut turn = lock(&self.turn);
        while turn.next != number && !turn.is_over {
            let moved = self.moved.wait(turn);
            turn = moved.unwrap_or_else(PoisonError::into_inner);
        }
        if turn.is_over {
            return Ok(false);
        }
        done(turn.take)?;
        turn.next += 1;
        self.moved.notify_all();
        Ok(true)
    }
}

/// Ends all turns when its thread fails, or panics: nobody is to wait for it.
struct Ends<'t, 'a, F> {
    turns: &'t Turns<'a, F>,
    is_done: bool,
}

impl<F> Drop for Ends<'_, '_, F> {
    fn drop(&mut self) {
        if !self.is_done {
            lock(&self.turns.turn).is_over = true;
            self.turns.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn units_are_taken_in_order_by_those_who_read_them() {
        for threads in 1..4 {
            let mut taken = Vec::new();
            let read = |unit: u8, buffer: &mut Vec<u8>| {
                std::thread::yield_now();
                *buffer = vec![unit; 3];
                Ok(())
            };
            let done = in_turn(threads, 0..200, &read, &mut |bytes, ()| {
                taken.push(bytes[0]);
                Ok(())
            });
            assert!(done.is_ok());
            assert!(taken.into_iter().eq(0..200));
        }
    }

    #[test]
    fn what_comes_of_work_is_had_in_the_order_in_which_it_began() {
        let mut ahead = Ahead::default();
        let mut had = Vec::new();
        for number in 0..200usize {
            had.extend(ahead.begin(move || {
                (0..number * 7 % 50).for_each(|_| std::thread::yield_now());
                number
            }));
            assert!(had.len() + MOST_AHEAD > number);
        }
        while let Some(number) = ahead.oldest() {
            had.push(number);
        }
        assert!(had.into_iter().eq(0..200));
    }

    #[test]
    fn a_failure_ends_all_turns() {
        let fill = |unit: u64, buffer: &mut Vec<u8>| {
            *buffer = vec![unit.to_le_bytes()[0]];
            Ok(())
        };
        let fail = |unit: u64, buffer: &mut Vec<u8>| match unit {
            40 => Err(Error::input("read")),
            _ => fill(unit, buffer),
        };
        for threads in 1..4 {
            let mut taken = 0;
            let done = in_turn(threads, 0..u64::MAX, &fail, &mut |_, ()| {
                taken += 1;
                Ok(())
            });
            assert_eq!(done.unwrap_err().to_string(), "read");
            assert!(taken <= 40);
            let done = in_turn(
                threads,
                0..u64::MAX,
                &fill,
                &mut |bytes, ()| match bytes[0] {
                    40 => Err(Error::input("take")),
                    _ => Ok(()),
                },
            );
            assert_eq!(done.unwrap_err().to_string(), "take");
        }
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panics() {
        let panics = |unit: u64, _: &mut Vec<u8>| match unit {
            40 => panic!("a fault in reading"),
            _ => Ok(()),
        };
        let done = std::panic::catch_unwind(|| {
            in_turn(3, 0..u64::MAX, &panics, &mut |_, ()| Ok(())).map_err(drop)
        });
        assert!(done.is_err());
    }
}
