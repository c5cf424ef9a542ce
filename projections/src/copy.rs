//! New rows in bulk: `COPY` in its binary form, which costs a third of what arrays of columns do.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// What a binary copy begins with: signature, flags, length of the extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Seconds from the Unix epoch to that of Postgres, 1 January 2000.
const EPOCH_SECONDS: i64 = 946_684_800;

/// A run of rows for one table. Each row is begun, and then given its columns in order.
#[derive(Debug)]
pub(crate) struct Rows {
    target: &'static str,
    columns: i16,
    bytes: Vec<u8>,
}

impl Rows {
    /// Rows for `table (column, …)`.
    pub(crate) fn new(target: &'static str, columns: i16) -> Self {
        Self { target, columns, bytes: Vec::new() }
    }

    /// Begins a row.
    pub(crate) fn begin(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(HEADER);
        }
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.field(text.as_bytes())
    }

    pub(crate) fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    pub(crate) fn bigint(&mut self, number: i64) -> &mut Self {
        self.field(&number.to_be_bytes())
    }

    pub(crate) fn integer(&mut self, number: i32) -> &mut Self {
        self.field(&number.to_be_bytes())
    }

    pub(crate) fn instant(&mut self, at: Option<DateTime<Utc>>) -> &mut Self {
        match at {
            Some(at) => self.bigint(at.timestamp_micros() - EPOCH_SECONDS * 1_000_000),
            None => self.null(),
        }
    }

    /// The instant `infinity`.
    pub(crate) fn never(&mut self) -> &mut Self {
        self.bigint(i64::MAX)
    }

    fn null(&mut self) -> &mut Self {
        self.bytes.extend_from_slice(&(-1_i32).to_be_bytes());
        self
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        // Texts of events are far below the limit of a message; Postgres refuses a longer one.
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Writes the rows, if there are any.
    ///
    /// # Errors
    /// As Postgres gives them; none of the rows is there then.
    pub(crate) async fn send(mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.bytes.extend_from_slice(&TRAILER);
        let sql = format!("COPY {} FROM STDIN (FORMAT binary)", self.target);
        let mut copy = conn.copy_in_raw(&sql).await?;
        copy.send(self.bytes).await?;
        copy.finish().await?;
        Ok(())
    }
}
