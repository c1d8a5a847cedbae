//! What was measured: some figures a round, of which the median counts.

use crate::peers::Peer;

/// What a figure is, and in what unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

/// One round of one server: its figures, the one that counts most first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) figures: Vec<Figure>,
    /// The share of the processors that neither server nor client used, from 0 to 1.
    pub(crate) others: f64,
}

impl Sample {
    pub(crate) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.figures.push(Figure { name, value });
        self
    }
}

/// All rounds of one server in one workload, or one variant of it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) peer: Peer,
    /// Which variant, such as `8 clients`; empty if there is but one.
    pub(crate) variant: String,
    pub(crate) samples: Vec<Sample>,
}

/// The median and the ends of some values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Line {
    /// The names of the figures, in order.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.samples.first().map(|sample| sample.figures.iter().map(|figure| figure.name).collect()).unwrap_or_default()
    }

    /// All rounds of one figure.
    pub(crate) fn spread(&self, name: &str) -> Option<Spread> {
        let values = self.samples.iter().flat_map(|sample| &sample.figures);
        spread(values.filter(|figure| figure.name == name).map(|figure| figure.value).collect())
    }

    /// The share of the processors that others used, in the median round.
    pub(crate) fn others(&self) -> f64 {
        spread(self.samples.iter().map(|sample| sample.others).collect()).map_or(0.0, |spread| spread.median)
    }
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
    Some(Spread { median, least, most })
}
