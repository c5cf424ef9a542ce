//! Small pieces of text for messages.

const CLIP_CHARS_MAX: usize = 24;

/// The start of a text that a caller sent: messages stay short, whatever came in.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(CLIP_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The 1-based column, in characters, of a byte offset.
pub(crate) fn column_of(text: &str, at: usize) -> usize {
    1 + text.char_indices().take_while(|&(start, _)| start < at).count()
}
