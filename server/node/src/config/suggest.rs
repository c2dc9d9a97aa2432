//! Near misses: which known word a mistyped one was probably meant to be.

/// The candidate closest to `word`, if any is close enough to be worth asking about.
pub(super) fn suggest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &str| {
        // A key may have been written without its section, or in another one.
        let last = candidate.rsplit('.').next().unwrap_or(candidate);
        let own_last = word.rsplit('.').next().unwrap_or(word);
        let extends = last.starts_with(own_last) && own_last.len() >= PREFIX_CHARS_MIN;
        let by_name = if extends { 1 } else { edits(own_last, last) + 1 };
        edits(word, candidate).min(by_name)
    };
    let near = 1 + word.len() / 4;
    candidates
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(d, _)| *d <= near)
        .min()
        .map(|(_, c)| c)
}

/// How many letters must be put in, taken out or changed to make one word of the other (Levenshtein).
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

/// So many letters of a key's beginning are not there by chance.
const PREFIX_CHARS_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (one, other, expected) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("tls", "tls", 0)]
        {
            assert_eq!(edits(one, other), expected, "{one} {other}");
            assert_eq!(edits(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_near_miss_is_found_and_a_stranger_is_not() {
        let words = ["listen", "metrics_listen", "tls.cert", "limits.publish_rate_per_second"];
        for (word, expected) in [
            ("lisen", Some("listen")),
            ("tls.certt", Some("tls.cert")),
            ("cert", Some("tls.cert")),
            ("publish_rate_per_second", Some("limits.publish_rate_per_second")),
            ("limits.publish_rate", Some("limits.publish_rate_per_second")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(suggest(word, words.into_iter()), expected, "{word}");
        }
    }
}
