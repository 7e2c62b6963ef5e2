//! Which values of a picture are black and which are white, and the colours between.

use crate::error::{Error, Result};

/// How the limits of a picture are found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Stretch {
    /// Around the median, as steep as the middle of the sorted samples is.
    #[default]
    Zscale,
    /// From the least to the greatest sample.
    MinMax,
    /// So many of a hundred samples are inside, as many above as below.
    Percentile(f64),
}

/// The part of the samples that `percentile` alone means.
const PERCENTILE: f64 = 99.5;

impl Stretch {
    /// The stretch a user names, such as `percentile=99.5`.
    ///
    /// # Errors
    /// When there is none; the hint lists all.
    pub fn from_name(name: &str) -> Result<Stretch> {
        let (word, number) = match name.split_once('=') {
            Some((word, number)) => (word, Some(number)),
            None => (name, None),
        };
        let found = match (word.to_ascii_lowercase().as_str(), number) {
            ("zscale", None) => Some(Stretch::Zscale),
            ("minmax", None) => Some(Stretch::MinMax),
            ("percentile", None) => Some(Stretch::Percentile(PERCENTILE)),
            ("percentile", Some(number)) => number
                .parse()
                .ok()
                .filter(|part| 0.0 < *part && *part <= 100.0)
                .map(Stretch::Percentile),
            _ => None,
        };
        found.ok_or_else(|| {
            Error::input(format!("there is no stretch `{name}`"))
                .hint("stretches are zscale, minmax, percentile and percentile=99.5")
        })
    }

    /// The values that become black and white; `None` where no value is finite.
    pub fn limits(self, values: &[f64]) -> Option<(f64, f64)> {
        let finite = values.iter().copied().filter(|value| value.is_finite());
        match self {
            Stretch::Zscale => zscale(&finite.collect::<Vec<f64>>()),
            Stretch::MinMax => finite.fold(None, |range, value| {
                let (lo, hi) = range.unwrap_or((value, value));
                Some((value.min(lo), value.max(hi)))
            }),
            Stretch::Percentile(part) => {
                let mut sorted: Vec<f64> = finite.collect();
                sorted.sort_unstable_by(f64::total_cmp);
                let outside = (100.0 - part) / 200.0;
                Some((
                    quantile(&sorted, outside)?,
                    quantile(&sorted, 1.0 - outside)?,
                ))
            }
        }
    }
}

/// The value below which a part of sorted values is, between neighbours linearly.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = (part * last as f64).clamp(0.0, last as f64);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let below = at.floor() as usize;
    let (lo, hi) = (sorted[below], sorted[(below + 1).min(last)]);
    // Not `hi - lo`: that overflows between the ends of the floats.
    let fraction = at - below as f64;
    Some(lo * (1.0 - fraction) + hi * fraction)
}

/// Samples that the line is fitted to.
const N_SAMPLES: usize = 1000;

/// The slope of the line is divided by this.
const CONTRAST: f64 = 0.25;

/// With more than this part rejected there is no line.
const MAX_REJECT: f64 = 0.5;

/// With fewer samples than this there is no line.
const MIN_SAMPLES: usize = 5;

/// Samples further from the line than so many sigmas are rejected.
const SIGMAS: f64 = 2.5;

const MAX_ITERATIONS: usize = 5;

/// IRAF's zscale: sorted samples I(i) near the median lie on a line, and the
/// picture shows `median +- slope / contrast` over its whole length. Samples far
/// from the line, and their neighbours, are left out of the next fit. The algorithm
/// is told in the help page of IRAF's task `display` (zscale algorithm); numbers
/// and the order of steps are those of `astropy.visualization.ZScaleInterval`, so
/// that both show a frame alike.
fn zscale(finite: &[f64]) -> Option<(f64, f64)> {
    let stride = (finite.len() / N_SAMPLES).max(1);
    let mut samples: Vec<f64> = finite
        .iter()
        .copied()
        .step_by(stride)
        .take(N_SAMPLES)
        .collect();
    samples.sort_unstable_by(f64::total_cmp);
    let (least, greatest) = (*samples.first()?, *samples.last()?);
    let n = samples.len();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let part_of_n = |part: f64| (n as f64 * part) as usize;
    let enough = MIN_SAMPLES.max(part_of_n(MAX_REJECT));
    let reach = part_of_n(0.01).max(1);
    let mut bad = vec![false; n];
    let (mut n_good, mut before, mut slope) = (n, n + 1, 0.0);
    for _ in 0..MAX_ITERATIONS {
        if n_good >= before || n_good < enough {
            break;
        }
        let (fitted, spread);
        (slope, fitted, spread) = line(&samples, &bad);
        let threshold = SIGMAS * spread;
        for (i, sample) in samples.iter().enumerate() {
            bad[i] |= (sample - (fitted + slope * i as f64)).abs() > threshold;
        }
        // A rejected sample takes its neighbours along.
        let rejected = bad.clone();
        for (i, bad) in bad.iter_mut().enumerate() {
            let end = i + (reach - 1) / 2;
            let start = (end + 1).saturating_sub(reach);
            *bad = rejected[start.min(n)..n.min(end + 1)].contains(&true);
        }
        before = n_good;
        n_good = bad.iter().filter(|&&bad| !bad).count();
    }
    if n_good < enough {
        return Some((least, greatest));
    }
    let slope = slope / CONTRAST;
    let middle = (n - 1) / 2;
    let median = match n % 2 {
        1 => samples[n / 2],
        _ => f64::midpoint(samples[n / 2 - 1], samples[n / 2]),
    };
    let lo = median - (middle as f64 - 1.0) * slope;
    let hi = median + (n - middle) as f64 * slope;
    Some((lo.max(least), hi.min(greatest)))
}

/// The least-squares line through the samples that are not bad: its slope, its
/// value at sample 0, and the standard deviation of the samples from it.
fn line(samples: &[f64], bad: &[bool]) -> (f64, f64, f64) {
    let good = || {
        let numbered = samples.iter().zip(bad).enumerate();
        numbered.filter_map(|(i, (&sample, &bad))| (!bad).then_some((i as f64, sample)))
    };
    let n = good().count() as f64;
    let mean_x = good().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = good().map(|(_, y)| y).sum::<f64>() / n;
    let xx: f64 = good().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let xy: f64 = good().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let slope = if xx > 0.0 { xy / xx } else { 0.0 };
    let start = mean_y - slope * mean_x;
    let off = || good().map(|(x, y)| y - (start + slope * x));
    let mean = off().sum::<f64>() / n;
    let variance = off().map(|off| (off - mean).powi(2)).sum::<f64>() / n;
    (slope, start, variance.sqrt())
}

/// Colours for values from black to white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colormap {
    /// Black to white.
    #[default]
    Gray,
    /// White to black.
    Inverted,
    /// Violet over blue, green and yellow, ever lighter.
    Dusk,
    /// Around the axis of gray, ever brighter.
    Cubehelix,
}

/// Every map, with the name that users type.
const COLORMAPS: [(Colormap, &str); 4] = [
    (Colormap::Gray, "gray"),
    (Colormap::Inverted, "inverted"),
    (Colormap::Dusk, "dusk"),
    (Colormap::Cubehelix, "cubehelix"),
];

/// Colours of `dusk` at equal distances; between them it is linear.
const DUSK: [[f64; 3]; 7] = [
    [38.0, 12.0, 66.0],
    [64.0, 46.0, 120.0],
    [50.0, 90.0, 146.0],
    [36.0, 132.0, 142.0],
    [66.0, 172.0, 116.0],
    [150.0, 206.0, 82.0],
    [250.0, 232.0, 78.0],
];

impl Colormap {
    /// The map a user names, such as `gray`.
    ///
    /// # Errors
    /// When there is none; the hint lists all.
    pub fn from_name(name: &str) -> Result<Colormap> {
        let mut maps = COLORMAPS.iter();
        let found = maps.find(|(_, known)| known.eq_ignore_ascii_case(name));
        found.map(|&(map, _)| map).ok_or_else(|| {
            let names = COLORMAPS.map(|(_, name)| name).join(", ");
            Error::input(format!("there is no colour map `{name}`"))
                .hint(format!("colour maps are {names}"))
        })
    }

    /// The colour of a value, from 0 (black) to 1 (white).
    pub fn color(self, part: f64) -> [u8; 3] {
        let part = part.clamp(0.0, 1.0);
        let color = match self {
            Colormap::Gray => [255.0 * part; 3],
            Colormap::Inverted => [255.0 * (1.0 - part); 3],
            Colormap::Dusk => {
                let at = part * (DUSK.len() - 1) as f64;
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let below = (at.floor() as usize).min(DUSK.len() - 2);
                let between = at - below as f64;
                std::array::from_fn(|i| {
                    DUSK[below][i] * (1.0 - between) + DUSK[below + 1][i] * between
                })
            }
            // D. A. Green, 2011, BASI 39, 289, equation 2, with start 0.5,
            // rotations -1.5, hue 1, gamma 1.
            Colormap::Cubehelix => {
                let angle = std::f64::consts::TAU * (0.5 / 3.0 + 1.0 - 1.5 * part);
                let wide = part * (1.0 - part) / 2.0;
                let (sin, cos) = angle.sin_cos();
                [(-0.14861, 1.78277), (-0.29227, -0.90649), (1.97294, 0.0)]
                    .map(|(c, s)| 255.0 * (part + wide * (c * cos + s * sin)))
            }
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        color.map(|value| value.round().clamp(0.0, 255.0) as u8)
    }

    /// The colour of a pixel without a value, which no value has.
    pub fn nothing(self) -> [u8; 3] {
        match self {
            Colormap::Gray | Colormap::Inverted => [74, 88, 122],
            Colormap::Dusk | Colormap::Cubehelix => [128, 128, 128],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_and_colour_maps_have_names() {
        assert_eq!(Stretch::from_name("ZScale").unwrap(), Stretch::Zscale);
        assert_eq!(
            Stretch::from_name("percentile=98").unwrap(),
            Stretch::Percentile(98.0)
        );
        for name in [
            "",
            "percentile=0",
            "percentile=101",
            "percentile=nan",
            "minmax=3",
        ] {
            assert!(Stretch::from_name(name).is_err(), "{name}");
        }
        for (map, name) in COLORMAPS {
            assert_eq!(Colormap::from_name(name).unwrap(), map);
        }
        assert!(Colormap::from_name("jet").is_err());
    }

    #[test]
    fn colours_grow_lighter_all_the_way() {
        for (map, _) in COLORMAPS {
            let light = |k: u32| {
                let [r, g, b] = map.color(f64::from(k) / 254.0).map(f64::from);
                let light = 0.299 * r + 0.587 * g + 0.114 * b;
                if map == Colormap::Inverted {
                    -light
                } else {
                    light
                }
            };
            assert!((1..255).all(|k| light(k) >= light(k - 1) - 0.5), "{map:?}");
            let nothing = map.nothing();
            assert!((0..255).all(|k| map.color(f64::from(k) / 254.0) != nothing));
        }
        assert_eq!(Colormap::Cubehelix.color(0.0), [0; 3]);
        assert_eq!(Colormap::Cubehelix.color(1.0), [255; 3]);
    }

    #[test]
    fn limits_leave_out_what_is_not_finite() {
        let values = [f64::NAN, 3.0, f64::INFINITY, -1.0, 2.0];
        for stretch in [Stretch::Zscale, Stretch::MinMax, Stretch::Percentile(100.0)] {
            assert_eq!(stretch.limits(&values), Some((-1.0, 3.0)), "{stretch:?}");
            assert_eq!(stretch.limits(&[f64::NAN]), None);
            assert_eq!(stretch.limits(&[]), None);
        }
        let ramp: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(Stretch::Percentile(90.0).limits(&ramp), Some((5.0, 95.0)));
    }

    #[test]
    fn zscale_looks_through_the_stars_at_the_sky() {
        // A ramp of sky with bright stars: the limits stay near the sky.
        let mut sky: Vec<f64> = (0..2000).map(|k| 100.0 + f64::from(k % 37)).collect();
        for star in sky.iter_mut().step_by(50) {
            *star = 60000.0;
        }
        let (lo, hi) = Stretch::Zscale.limits(&sky).unwrap();
        assert!(lo >= 100.0 && hi < 400.0, "{lo} {hi}");
    }
}
