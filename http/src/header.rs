//! The headers that requests are asked for. A name that is a text at the place where it is wanted
//! would be parsed for each request, and a command is asked for several.

use axum::http::HeaderName;

/// A header's name, to find it by and to be told of it.
#[derive(Debug)]
pub struct Header {
    /// As maps of headers have it.
    pub(crate) name: HeaderName,
    /// As people write it.
    pub shown: &'static str,
}

impl Header {
    /// By its name in lower case, and as people write it.
    ///
    /// # Panics
    /// Where `lower` is not the name in lower case, which the compiler sees.
    #[must_use]
    pub const fn new(lower: &'static str, shown: &'static str) -> Self {
        Self { name: HeaderName::from_static(lower), shown }
    }
}

/// The program (tenant).
pub static PROGRAM: Header = Header::new("accrue-program", "Accrue-Program");
/// The command's id.
pub static IDEMPOTENCY_KEY: Header = Header::new("idempotency-key", "Idempotency-Key");
/// The conversation that a command belongs to.
pub static CORRELATION_ID: Header = Header::new("accrue-correlation-id", "Accrue-Correlation-Id");
/// What caused a command.
pub static CAUSATION_ID: Header = Header::new("accrue-causation-id", "Accrue-Causation-Id");
/// Who sends a command.
pub static ACTOR: Header = Header::new("accrue-actor", "Accrue-Actor");
/// The version that a command changes.
pub static IF_MATCH: Header = Header::new("if-match", "If-Match");
/// What the client understands.
pub static ACCEPT: Header = Header::new("accept", "Accept");
/// How the body is compressed.
pub static CONTENT_ENCODING: Header = Header::new("content-encoding", "Content-Encoding");
/// What the body is.
pub static CONTENT_TYPE: Header = Header::new("content-type", "Content-Type");
