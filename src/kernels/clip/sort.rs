//! Sorts 16 lines at once: a network of rows, which compares every lane alike.

use super::isa::{Isa, Kernel, run};
use super::{LANES, Level, Rows, Sample};

/// Copies rows into `into`, with the greatest value for what does not count, and
/// sorts every line. Tells how many samples count in each.
pub(super) fn sort<T: Sample>(
    level: Level,
    rows: &[[T; LANES]],
    into: &mut Rows<T>,
    infinities: bool,
) -> [u32; LANES] {
    into.truncate(rows.len());
    into.resize(rows.len(), T::INFINITY);
    let load = Load {
        rows,
        into,
        most: if infinities { T::INFINITY } else { T::MAX },
    };
    let counted = run(level, load);
    run(level, Network(into));
    counted
}

struct Load<'a, T> {
    rows: &'a [[T; LANES]],
    into: &'a mut [[T; LANES]],
    most: T,
}

impl<T: Sample> Kernel for Load<'_, T> {
    type Out = [u32; LANES];

    #[inline(always)]
    fn run<I: Isa>(self) -> [u32; LANES] {
        // 0 times what is not finite is NaN.
        let mut rests = [T::ZERO; LANES];
        for (row, out) in self.rows.iter().zip(self.into.iter_mut()) {
            *out = *row;
            for lane in 0..LANES {
                rests[lane] = rests[lane] + row[lane] * T::ZERO;
            }
        }
        if rests == [T::ZERO; LANES] {
            return [self.rows.len() as u32; LANES];
        }
        // A loop for each, or they would not become vectors.
        let mut counted = [0; LANES];
        for row in self.rows {
            for lane in 0..LANES {
                counted[lane] += u32::from(row[lane].magnitude() <= self.most);
            }
        }
        for out in self.into {
            let mut samples = *out;
            for sample in &mut samples {
                let counts = sample.magnitude() <= self.most;
                *sample = if counts { *sample } else { T::INFINITY };
            }
            *out = samples;
        }
        counted
    }
}

/// Sorts rows.
pub(super) struct Network<'a, T>(pub(super) &'a mut [[T; LANES]]);

impl<T: Sample> Kernel for Network<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        T::network::<I>(self.0);
    }
}
