//! Where the ticks of an axis stand, and the numbers beside them.

/// A range of values, divided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) lo: f64,
    pub(super) hi: f64,
    /// Values with a tick, and how they are written.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Scale {
    /// About `n` ticks at round numbers between `lo` and `hi`, which are finite;
    /// `whole` ones where the values are counts of something.
    pub(super) fn new(lo: f64, hi: f64, n: usize, whole: bool) -> Scale {
        let step = round_step((hi - lo) / n.max(1) as f64, whole);
        let mut ticks = Vec::new();
        let first = (lo / step).ceil();
        for number in 0..=4 * n.max(1) {
            let value = (first + number as f64) * step;
            if value > hi + 1e-9 * step {
                break;
            }
            ticks.push((value, show(value, step, lo.abs().max(hi.abs()))));
        }
        Scale { lo, hi, ticks }
    }

    /// Where a value is, from 0 at `lo` to 1 at `hi`.
    pub(super) fn part(&self, value: f64) -> f64 {
        (value - self.lo) / (self.hi - self.lo)
    }

    /// The most characters that a number has.
    pub(super) fn width(&self) -> usize {
        let widths = self.ticks.iter().map(|(_, text)| text.len());
        widths.max().unwrap_or(0)
    }
}

/// The range of a plot around values from `lo` to `hi`: a little room on both
/// sides, and some around a single value.
pub(super) fn with_room(lo: f64, hi: f64) -> (f64, f64) {
    // The middle of the greatest floats, halved first, does not overflow.
    let (middle, half) = (lo / 2.0 + hi / 2.0, hi / 2.0 - lo / 2.0);
    let half = match half > f64::EPSILON * middle.abs() * 8.0 {
        true => half * 1.06,
        false => (middle.abs() * 0.05).max(if middle == 0.0 { 1.0 } else { 0.0 }),
    };
    let most = f64::MAX / 4.0;
    ((middle - half).max(-most), (middle + half).min(most))
}

/// The least of 1, 2, 5, 10, 20 ... that is at least `step`, to any power.
fn round_step(step: f64, whole: bool) -> f64 {
    if !step.is_normal() {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter();
    let found = factor
        .map(|factor| factor * power)
        .find(|&round| round >= step * (1.0 - 1e-9));
    let round = found.unwrap_or(10.0 * power);
    if whole { round.max(1.0) } else { round }
}

/// A tick's number: as many decimals as the step has, powers of ten apart.
fn show(value: f64, step: f64, greatest: f64) -> String {
    // A tick that should be 0 may be off by a rounding error.
    let value = if value.abs() < step * 1e-6 {
        0.0
    } else {
        value
    };
    if (1e-4..1e7).contains(&greatest) {
        let decimals = (-step.log10()).ceil().clamp(0.0, 12.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        return format!("{value:.*}", decimals as usize);
    }
    if value == 0.0 {
        return "0".to_string();
    }
    let digits = (value.abs().log10().floor() - step.log10().floor()).clamp(0.0, 12.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let text = format!("{value:.*e}", digits as usize);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lo: f64, hi: f64, n: usize) -> Vec<String> {
        let scale = Scale::new(lo, hi, n, false);
        scale.ticks.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_numbers_inside_the_range() {
        assert_eq!(texts(0.0, 10.0, 5), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(
            texts(-0.13, 0.11, 5),
            ["-0.10", "-0.05", "0.00", "0.05", "0.10"]
        );
        assert_eq!(texts(1000.0, 1001.0, 2), ["1000.0", "1000.5", "1001.0"]);
        assert_eq!(texts(0.0, 3e9, 3), ["0", "1e9", "2e9", "3e9"]);
        assert_eq!(texts(1e-9, 2e-9, 2), ["1.0e-9", "1.5e-9", "2.0e-9"]);
        let whole = Scale::new(0.5, 3.5, 10, true);
        assert_eq!(whole.ticks.len(), 3);
    }

    #[test]
    fn any_range_has_a_scale() {
        let greatest = [f64::MIN, f64::MAX, 0.0, 1e-300, 5e-324, -1.0, 1e16];
        for lo in greatest {
            for hi in greatest {
                let (lo, hi) = with_room(lo.min(hi), lo.max(hi));
                let scale = Scale::new(lo, hi, 6, false);
                assert!(scale.ticks.len() <= 25 && scale.part(lo).abs() < 1e-6);
            }
        }
    }
}
