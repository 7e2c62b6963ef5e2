//! The filters of one command, and the frames that come before them.

use super::{Filter, Keyword};
use crate::error::Result;
use crate::frames::Frame;
use crate::frames::measure::{Measure, Measures, measure};

/// Lets frames pass that meet every filter, and remembers which keywords no frame
/// had: those are mistyped, or strings without quotes.
pub struct Gate<'a> {
    filters: &'a [Filter],
    unseen: Vec<&'a Keyword>,
    came: u64,
}

impl<'a> Gate<'a> {
    /// A gate that nothing has come to yet.
    pub fn new(filters: &'a [Filter]) -> Gate<'a> {
        let mut unseen: Vec<&Keyword> = Vec::new();
        for keyword in filters.iter().flat_map(|filter| &filter.compared) {
            if !unseen.contains(&keyword) {
                unseen.push(keyword);
            }
        }
        Gate {
            filters,
            unseen,
            came: 0,
        }
    }

    /// Does the frame meet every filter? Samples are read only when the cards leave
    /// the matter open.
    ///
    /// # Errors
    /// When samples are needed and cannot be read.
    pub fn passes(&mut self, frame: &mut dyn Frame) -> Result<bool> {
        let cards = frame.cards();
        self.came += 1;
        self.unseen.retain(|keyword| keyword.find(cards).is_none());
        let mut open: Vec<&Filter> = Vec::new();
        for filter in self.filters {
            match filter.decides(cards) {
                Some(true) => {}
                Some(false) => return Ok(false),
                None => open.push(filter),
            }
        }
        if open.is_empty() {
            return Ok(true);
        }
        let needs = open
            .iter()
            .fold(Measures::default(), |needs, filter| needs.and(filter.needs));
        let measured = measure(frame, needs)?;
        let cards = frame.cards();
        Ok(open.iter().all(|filter| filter.accepts(cards, &measured)))
    }

    /// What to tell about keywords that are compared and that no frame had.
    pub fn complaints(&self) -> Vec<String> {
        let unseen = self.unseen.iter().filter(|_| self.came > 0);
        unseen.map(|keyword| unknown(&keyword.name)).collect()
    }
}

/// What to tell of a keyword that no frame has.
pub fn unknown(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match Measure::from_name(&lower) {
        Some(_) => {
            format!("no frame has a card {name}; lower-case {lower} is measured from the samples")
        }
        None => format!(
            "no frame has a card {name} in the HDU that is taken; if it is a string, put it in quotes"
        ),
    }
}
