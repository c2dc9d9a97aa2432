//! The fuzz targets' seeds, made of all vectors, and the replay of seeds and kept inputs through their properties.

use crate::vectors::{self, FILES, Vector};
use crate::{fuzz_properties, hex, registry};

const HEAD: &str =
    "# Seeds of the fuzz target, one input a line; made of all test vectors by the tests of hark-protocol.\n";

fn every_vector() -> impl Iterator<Item = Vector> {
    FILES.into_iter().flat_map(vectors::load)
}

/// A vector's bytes, whatever they are.
fn bytes(vector: &Vector) -> Vec<u8> {
    let chunks = vector.hex.iter().chain(vector.chunks.iter().flatten());
    chunks.flat_map(|chunk| hex::decode(chunk)).collect()
}

fn seeds(inputs: impl Iterator<Item = Vec<u8>>) -> String {
    let mut lines: Vec<String> = inputs.map(|input| hex::encode(&input) + "\n").collect();
    lines.sort();
    lines.dedup();
    HEAD.to_owned() + &lines.concat()
}

#[test]
fn seeds_are_made_of_all_vectors() {
    // Without the header: type and payload.
    let payloads =
        every_vector().filter(|vector| vector.frame.is_some() || vector.scope.as_deref() == Some("request"));
    let payloads = payloads.map(|vector| bytes(&vector)).map(|frame| [&frame[6..8], &frame[20..]].concat());
    registry::hold("../tests/fuzz/seeds/payload.txt", &seeds(payloads));
    let streams = every_vector().filter(|vector| vector.body.is_none()).map(|vector| {
        // Any byte will do that does not change with the vectors beside it.
        let seed = vector.id.bytes().fold(0, u8::wrapping_add);
        [&[seed][..], &bytes(&vector)].concat()
    });
    registry::hold("../tests/fuzz/seeds/stream.txt", &seeds(streams));
}

#[test]
fn every_seed_and_every_kept_input_has_the_targets_property() {
    for (target, property) in
        [("payload", fuzz_properties::payload as fn(&[u8])), ("stream", fuzz_properties::stream)]
    {
        let mut count = 0;
        for folder in ["seeds", "kept"] {
            let text = registry::read(&format!("../tests/fuzz/{folder}/{target}.txt"));
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                property(&hex::decode(line));
                count += 1;
            }
        }
        assert!(count > 200, "{target}: only {count} inputs");
    }
}
