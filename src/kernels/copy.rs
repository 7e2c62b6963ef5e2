//! Boxes from one array to another, XORed with the cube's mask on the way.
//!
//! A tile holds each sample XORed with the mask, so that a byte that was never
//! written, which reads as zero, is the pad value. The same loop reads (stored to
//! values) and writes (values to stored).

use crate::region::MAX_RANK;

/// Where a box stands in one of the two arrays, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Offset of the first sample.
    pub start: usize,
    /// Distance from one sample to the next on each axis; may be negative.
    pub strides: [isize; MAX_RANK],
}

/// Repeats the bits of a sample of `size` bytes over 64 bits.
pub const fn repeat(bits: u64, size: usize) -> u64 {
    match size {
        1 => (bits & 0xff) * 0x0101_0101_0101_0101,
        2 => (bits & 0xffff) * 0x0001_0001_0001_0001,
        4 => (bits & 0xffff_ffff) * 0x0000_0001_0000_0001,
        _ => bits,
    }
}

/// `to = from ^ mask`, where `mask` is [`repeat`]ed. Both have the same length,
/// a whole number of samples.
#[inline]
pub fn xor_copy(from: &[u8], to: &mut [u8], mask: u64) {
    if mask == 0 {
        to.copy_from_slice(from);
        return;
    }
    let (from_words, from_rest) = from.as_chunks::<8>();
    let (to_words, to_rest) = to.as_chunks_mut::<8>();
    for (from, to) in from_words.iter().zip(to_words) {
        *to = (u64::from_le_bytes(*from) ^ mask).to_le_bytes();
    }
    for ((from, to), mask) in from_rest.iter().zip(to_rest).zip(mask.to_le_bytes()) {
        *to = from ^ mask;
    }
}

/// `bytes ^= mask`, as [`xor_copy`] does.
pub fn xor(bytes: &mut [u8], mask: u64) {
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_le_bytes(*word) ^ mask).to_le_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.to_le_bytes()) {
        *byte ^= mask;
    }
}

/// Fills `to` with copies of a sample of `size` bytes.
pub fn fill(to: &mut [u8], bits: u64, size: usize) {
    let word = repeat(bits, size).to_le_bytes();
    let (words, rest) = to.as_chunks_mut::<8>();
    words.fill(word);
    rest.copy_from_slice(&word[..rest.len()]);
}

/// Copies a box of `lens` samples of `size` bytes from one array to another,
/// XORing with `mask`.
///
/// # Panics
/// When the box does not lie inside both arrays: callers cut boxes by tile and
/// by request, so that would be a fault in the cutting.
pub fn copy_box(
    size: usize,
    mask: u64,
    lens: &[usize; MAX_RANK],
    from: (&[u8], &Layout),
    to: (&mut [u8], &Layout),
) {
    let Some(loops) = Loops::new(size, lens, from.1, to.1) else {
        return;
    };
    loops.run(
        loops.used,
        size,
        repeat(mask, size),
        (from.0, from.1.start),
        to.0,
        to.1.start,
    );
}

/// The loops of a copy, innermost first, as few as do it.
struct Loops {
    lens: [usize; MAX_RANK],
    from: [isize; MAX_RANK],
    to: [isize; MAX_RANK],
    used: usize,
}

impl Loops {
    /// `None` when there is nothing to copy.
    fn new(size: usize, lens: &[usize; MAX_RANK], from: &Layout, to: &Layout) -> Option<Loops> {
        let mut loops = Loops {
            lens: [1; MAX_RANK],
            from: [size as isize; MAX_RANK],
            to: [size as isize; MAX_RANK],
            used: 0,
        };
        for axis in 0..MAX_RANK {
            let (len, from, to) = (lens[axis], from.strides[axis], to.strides[axis]);
            match len {
                0 => return None,
                1 => continue,
                _ => {}
            }
            if let Some(last) = loops.used.checked_sub(1) {
                // One loop does both axes when the outer goes on where the inner ends.
                let inner = loops.lens[last] as isize;
                if from == loops.from[last] * inner && to == loops.to[last] * inner {
                    loops.lens[last] *= len;
                    continue;
                }
            }
            loops.lens[loops.used] = len;
            loops.from[loops.used] = from;
            loops.to[loops.used] = to;
            loops.used += 1;
        }
        loops.used = loops.used.max(1);
        Some(loops)
    }

    fn run(
        &self,
        depth: usize,
        size: usize,
        mask: u64,
        (from, from_at): (&[u8], usize),
        to: &mut [u8],
        to_at: usize,
    ) {
        let axis = depth - 1;
        let (len, from_step, to_step) = (self.lens[axis], self.from[axis], self.to[axis]);
        if axis == 1 && [self.from[0], self.to[0]] == [size as isize; 2] {
            let rows = Rows {
                len,
                bytes: self.lens[0] * size,
                mask,
            };
            rows.copy((from, from_at, from_step), (to, to_at, to_step));
        } else if axis > 0 {
            for k in 0..len as isize {
                let from_at = from_at.wrapping_add_signed(k * from_step);
                let to_at = to_at.wrapping_add_signed(k * to_step);
                self.run(axis, size, mask, (from, from_at), to, to_at);
            }
        } else if from_step == size as isize && to_step == size as isize {
            let bytes = len * size;
            let from = &from[from_at..from_at + bytes];
            xor_copy(from, &mut to[to_at..to_at + bytes], mask);
        } else {
            match size {
                1 => copy_line::<1>(len, mask, (from, from_at, from_step), (to, to_at, to_step)),
                2 => copy_line::<2>(len, mask, (from, from_at, from_step), (to, to_at, to_step)),
                4 => copy_line::<4>(len, mask, (from, from_at, from_step), (to, to_at, to_step)),
                _ => copy_line::<8>(len, mask, (from, from_at, from_step), (to, to_at, to_step)),
            }
        }
    }
}

/// Rows, each contiguous in both arrays.
struct Rows {
    len: usize,
    /// Of a row.
    bytes: usize,
    mask: u64,
}

impl Rows {
    /// A row of a tile 64 wide is so short that calling a copy of any length takes as long
    /// as the copy, so those lengths have loops of their own.
    fn copy(&self, from: (&[u8], usize, isize), to: (&mut [u8], usize, isize)) {
        match self.bytes {
            64 => self.of::<64>(from, to),
            128 => self.of::<128>(from, to),
            256 => self.of::<256>(from, to),
            512 => self.of::<512>(from, to),
            bytes => self.each(from, to, |from, to| {
                xor_copy(&from[..bytes], &mut to[..bytes], self.mask);
            }),
        }
    }

    fn of<const BYTES: usize>(&self, from: (&[u8], usize, isize), to: (&mut [u8], usize, isize)) {
        self.each(from, to, |from, to| {
            xor_copy(&from[..BYTES], &mut to[..BYTES], self.mask);
        });
    }

    fn each(
        &self,
        (from, mut from_at, from_step): (&[u8], usize, isize),
        (to, mut to_at, to_step): (&mut [u8], usize, isize),
        copy: impl Fn(&[u8], &mut [u8]),
    ) {
        for _ in 0..self.len {
            copy(&from[from_at..], &mut to[to_at..]);
            from_at = from_at.wrapping_add_signed(from_step);
            to_at = to_at.wrapping_add_signed(to_step);
        }
    }
}

/// One line of samples, not contiguous in at least one of the arrays.
fn copy_line<const SIZE: usize>(
    len: usize,
    mask: u64,
    (from, mut from_at, from_step): (&[u8], usize, isize),
    (to, mut to_at, to_step): (&mut [u8], usize, isize),
) {
    let mask = mask.to_le_bytes();
    for _ in 0..len {
        let source = &from[from_at..from_at + SIZE];
        let target = &mut to[to_at..to_at + SIZE];
        for byte in 0..SIZE {
            target[byte] = source[byte] ^ mask[byte];
        }
        from_at = from_at.wrapping_add_signed(from_step);
        to_at = to_at.wrapping_add_signed(to_step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: every index of the box, one byte at a time.
    fn naive(
        size: usize,
        mask: u64,
        lens: &[usize; MAX_RANK],
        from: (&[u8], &Layout),
        to: (&mut [u8], &Layout),
    ) {
        let total: usize = lens.iter().product();
        for mut k in 0..total {
            let (mut from_at, mut to_at) = (from.1.start as isize, to.1.start as isize);
            for axis in 0..MAX_RANK {
                let i = (k % lens[axis]) as isize;
                k /= lens[axis];
                from_at += i * from.1.strides[axis];
                to_at += i * to.1.strides[axis];
            }
            for byte in 0..size {
                let masked = from.0[from_at as usize + byte] ^ mask.to_le_bytes()[byte];
                to.0[to_at as usize + byte] = masked;
            }
        }
    }

    #[test]
    fn boxes_are_copied_as_the_definition_says() {
        let mut seed = 1u64;
        let mut below = |n: usize| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) as usize % n
        };
        for round in 0..3000 {
            let size = [1, 2, 4, 8][below(4)];
            let mask = [0, 0x7fc0_0000, 0x8000, 0xff][below(4)] & (u64::MAX >> (64 - 8 * size));
            let (mut outer_from, mut outer_to) = (size, size);
            let mut lens = [1; MAX_RANK];
            let mut from = Layout {
                start: 0,
                strides: [0; MAX_RANK],
            };
            let mut to = from;
            for axis in 0..4 {
                lens[axis] = below(5);
                let (from_len, to_len) = (lens[axis] + below(3), lens[axis] + below(2));
                from.strides[axis] = outer_from as isize;
                to.strides[axis] = outer_to as isize;
                if below(4) == 0 && lens[axis] > 0 {
                    // Backwards.
                    from.start += (lens[axis] - 1) * outer_from;
                    from.strides[axis] = -(outer_from as isize);
                }
                outer_from *= from_len.max(1);
                outer_to *= to_len.max(1);
            }
            let source: Vec<u8> = (0..outer_from)
                .map(|_| below(256).to_le_bytes()[0])
                .collect();
            let mut expected = vec![9; outer_to];
            let mut found = expected.clone();
            naive(size, mask, &lens, (&source, &from), (&mut expected, &to));
            copy_box(size, mask, &lens, (&source, &from), (&mut found, &to));
            assert_eq!(found, expected, "round {round}");
        }
    }

    #[test]
    fn filling_repeats_the_sample() {
        let mut out = [0; 12];
        fill(&mut out, 0x7fc0_0000, 4);
        assert_eq!(out, [0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f]);
        fill(&mut out[..6], 0x1234, 2);
        assert_eq!(out[..6], [0x34, 0x12, 0x34, 0x12, 0x34, 0x12]);
        fill(&mut out[..3], 0xaa, 1);
        assert_eq!(out[..3], [0xaa; 3]);
    }
}
