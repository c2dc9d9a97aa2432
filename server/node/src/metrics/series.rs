//! Groups of counters whose labels are resolved once, so that counting is one atomic addition.

use std::marker::PhantomData;

use hashbrown::HashMap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::label::Label;

/// One counter for each code of an open enumeration that has a name, and one for all the others.
pub(super) struct ByCode {
    known: HashMap<u16, Counter>,
    other: Counter,
}

impl ByCode {
    pub(super) fn new(
        registry: &mut Registry,
        name: &str,
        help: &str,
        label: &'static str,
        codes: impl Iterator<Item = (u16, &'static str)>,
    ) -> ByCode {
        let family = family(registry, name, help);
        let known = codes.map(|(code, word)| (code, family.get_or_create_owned(&[(label, word)]))).collect();
        ByCode { known, other: family.get_or_create_owned(&[(label, "other")]) }
    }

    pub(super) fn of(&self, code: u16) -> &Counter {
        self.known.get(&code).unwrap_or(&self.other)
    }
}

/// One counter for each word of a closed set.
pub(super) struct ByLabel<L> {
    counters: Box<[Counter]>,
    label: PhantomData<L>,
}

impl<L: Label> ByLabel<L> {
    pub(super) fn new(registry: &mut Registry, name: &str, help: &str, label: &'static str) -> ByLabel<L> {
        let family = family(registry, name, help);
        let counter = |word: &L| family.get_or_create_owned(&[(label, word.word())]);
        ByLabel { counters: L::ALL.iter().map(counter).collect(), label: PhantomData }
    }

    pub(super) fn of(&self, word: L) -> &Counter {
        &self.counters[word.index()]
    }
}

pub(super) fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

pub(super) fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

pub(super) fn gauges(registry: &mut Registry, name: &str, help: &str) -> Family<Labels, Gauge> {
    let gauges = Family::<Labels, Gauge>::default();
    registry.register(name, help, gauges.clone());
    gauges
}

pub(super) fn histogram(
    registry: &mut Registry,
    name: &str,
    help: &str,
    buckets: impl Iterator<Item = f64>,
) -> Histogram {
    let histogram = Histogram::new(buckets);
    registry.register(name, help, histogram.clone());
    histogram
}

fn family(registry: &mut Registry, name: &str, help: &str) -> Family<Labels, Counter> {
    let family = Family::<Labels, Counter>::default();
    registry.register(name, help, family.clone());
    family
}

/// One label and its word.
pub(super) type Labels = [(&'static str, &'static str); 1];
