//! PLIO_1, the line lists of IRAF, as the FITS Standard 4.0, section 10.4.3, has them.
//!
//! Words of 16 bits: seven or so of a head, which says how many there are, then
//! instructions of 4 bits and a number of 12. There is a value that is not 0, 1 at first,
//! which some of them change and others draw.

/// Decodes the samples of a tile; `None` when the list ends before it should, or holds
/// what is no instruction. Samples that it does not come to are 0. All become `less` by so much.
pub(super) fn decode(bytes: &[u8], less: i32, out: &mut [i32]) -> Option<()> {
    let words = bytes.as_chunks::<2>().0;
    let word = |at: usize| Some(i32::from(i16::from_be_bytes(*words.get(at)?)));
    let (first, n_words) = match word(2)? {
        // The head of old lists had 3 words, and a third one that was their length.
        n_words if n_words > 0 => (3, n_words),
        _ => (word(1)?, (word(4)? << 15) + word(3)?),
    };
    let (first, n_words) = (usize::try_from(first).ok()?, usize::try_from(n_words).ok()?);
    let mut list = words.get(..n_words).filter(|words| !words.is_empty())?;
    list = list.get(first..).unwrap_or_default();
    let mut left = &mut *out;
    let mut high = 1i32;
    while let Some((word, rest)) = list.split_first() {
        list = rest;
        let word = i16::from_be_bytes(*word);
        let number = i32::from(word & 0xfff);
        let (n_zeros, n_high) = match word >> 12 {
            0 => (number, 0),
            // The upper bits of a value follow.
            1 => {
                let (upper, rest) = list.split_first()?;
                list = rest;
                high = (i32::from(i16::from_be_bytes(*upper)) << 12) + number;
                (0, 0)
            }
            2 | 6 => {
                high = high.wrapping_add(number);
                (0, i32::from(word >> 12 == 6))
            }
            3 | 7 => {
                high = high.wrapping_sub(number);
                (0, i32::from(word >> 12 == 7))
            }
            4 => (0, number),
            // Zeros, of which the last is none.
            5 => (number - 1, i32::from(number > 0)),
            _ => return None,
        };
        for (count, value) in [(n_zeros, 0), (n_high, high)] {
            let count = usize::try_from(count).unwrap_or(0).min(left.len());
            let (now, later) = left.split_at_mut(count);
            now.fill(value);
            left = later;
        }
    }
    left.fill(0);
    if less > 0 {
        out.iter_mut().for_each(|v| *v = v.wrapping_sub(less));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_a_value_and_draw_it() {
        let list = |words: &[i16]| -> Option<Vec<i32>> {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            let mut out = vec![-1; 9];
            decode(&bytes, 0, &mut out).map(|()| out)
        };
        let word = |code: i16, number: i16| code << 12 | number;
        // Two zeros; three of 1 + 6; a zero and one of those; the same less 2; the rest.
        let words = [word(0, 2), word(2, 6), word(4, 3), word(5, 2), word(7, 2)];
        let expected = [0, 0, 7, 7, 7, 0, 7, 5, 0];
        let new = [&[0, 7, -100, 12, 0, 0, 0][..], &words].concat();
        assert_eq!(list(&new).as_deref(), Some(&expected[..]));
        let old = [&[0, 0, 8][..], &words].concat();
        assert_eq!(list(&old).as_deref(), Some(&expected[..]));
        // A value of two words, drawn beyond the end.
        let long = [0, 7, -100, 10, 0, 0, 0, word(1, 5), 2, word(4, 4095)];
        assert_eq!(list(&long), Some(vec![8197; 9]));
        // A value without its second word; a length that is not there; none; no
        // instruction; a head that is cut.
        for bad in [
            &[0, 7, -100, 8, 0, 0, 0, word(1, 5)][..],
            &[0, 7, -100, 9, 0, 0, 0, 1],
            &[0; 7],
            &[0, 7, -100, 8, 0, 0, 0, -1],
            &[0, 7, -100],
        ] {
            assert_eq!(list(bad), None, "{bad:?}");
        }
    }
}
