//! Words of products and of what is searched for: one way to split and fold for both, so that a
//! word is found however it was written.
//!
//! They are made here and not by a parser of Postgres: what that makes of `SKU-42`, of an address
//! or of `É` depends on what stands around it and on the database's locale, and it would be part of
//! the rows. Extensions that find any part of a word are not installed everywhere.

/// Letters of a word that count. Postgres takes no lexeme beyond 2,046 bytes.
const WORD_CHARS_MAX: usize = 100;

/// What a product is found by: its words with its program before each, so that the index of all
/// programs leads to the rows of one. Separated by spaces.
pub(super) fn indexed(program: &str, texts: &[&str]) -> String {
    let words = texts.iter().flat_map(|text| words(text));
    words.map(|word| format!("{program}/{word}")).collect::<Vec<_>>().join(" ")
}

/// A `tsquery` for products of a program that have each word of a text as the beginning of one of
/// theirs; none where the text has no word.
pub(super) fn query(program: &str, text: &str) -> Option<String> {
    // A program's id and a word have nothing that could end the quotes.
    let words = words(text).map(|word| format!("'{program}/{word}':*")).collect::<Vec<_>>();
    (!words.is_empty()).then(|| words.join(" & "))
}

/// Runs of letters and digits, without regard to case: `ß` is `ss`, and every sigma the same.
fn words(text: &str) -> impl Iterator<Item = String> {
    let folded: String =
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    let words = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.map(|word| word.chars().take(WORD_CHARS_MAX).collect());
    words.collect::<Vec<String>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> String {
        words(text).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_word_is_a_run_of_letters_and_digits_in_any_case() {
        assert_eq!(split("SKU-42_b, T-Shirt (red)"), "sku|42|b|t|shirt|red");
        assert_eq!(split("Crème BRÛLÉE"), "crème|brûlée");
        assert_eq!((split("Straße"), split("STRASSE")), ("strasse".into(), "strasse".into()));
        assert_eq!((split("ΟΔΟΣ"), split("οδός")), ("οδοσ".into(), "οδόσ".into()));
        assert_eq!(split("茶 お茶"), "茶|お茶");
    }

    #[test]
    fn what_is_no_letter_and_no_digit_is_no_word() {
        for text in ["", " ", "%", "'", "\\", "!&|():*<->", "\0\t\u{202e}\u{feff}", "🦄"] {
            assert_eq!((split(text), query("p", text)), (String::new(), None), "{text:?}");
        }
    }

    #[test]
    fn nothing_in_a_query_is_an_operator() {
        let asked = query("p", "uni' | !corn:*\\ & <-> x").unwrap();
        assert_eq!(asked, "'p/uni':* & 'p/corn':* & 'p/x':*");
        assert_eq!(indexed("p", &["1", "A Unicorn"]), "p/1 p/a p/unicorn");
    }

    #[test]
    fn the_end_of_a_very_long_word_does_not_count() {
        let long = "🄰é".repeat(2_000).replace('🄰', "ﬀ");
        let asked = query(&"p".repeat(100), &long).unwrap();
        assert!(asked.len() < 1_000, "{} bytes", asked.len());
    }
}
