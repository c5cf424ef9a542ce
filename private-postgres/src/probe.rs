//! Knocks at the cluster's socket with a bare startup packet: says more than the process table.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::layout::{DATABASE, ROLE, socket_file};

const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);
const PROTOCOL_3_0: u32 = 196_608;
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
const GOODBYE: [u8; 5] = [b'X', 0, 0, 0, 4];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Ready,
    /// Takes connections, but has no database of ours yet.
    NoDatabase,
    /// Starting, recovering or shutting down.
    NotYet,
    /// Nobody answers.
    Silent,
}

pub(crate) async fn knock(socket_dir: &Path) -> Answer {
    let answer = timeout(ANSWER_WAIT_MAX, ask(&socket_file(socket_dir))).await;
    answer.map_or(Answer::NotYet, |answer| answer.unwrap_or(Answer::Silent))
}

async fn ask(socket: &Path) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&startup_packet()).await?;
    // "Authenticated" comes before the database is looked up, so that alone says too little.
    loop {
        let kind = stream.read_u8().await?;
        let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
        let mut body = vec![0; length.saturating_sub(4).min(MESSAGE_BYTES_MAX)];
        stream.read_exact(&mut body).await?;
        match kind {
            b'Z' => break,
            b'E' => return Ok(meaning_of(&body)),
            _ => {}
        }
    }
    // Without a goodbye the server would log a connection that was cut.
    stream.write_all(&GOODBYE).await?;
    Ok(Answer::Ready)
}

fn startup_packet() -> Vec<u8> {
    let body = format!("user\0{ROLE}\0database\0{DATABASE}\0\0");
    let length = u32::try_from(body.len() + 8).expect("a short constant text");
    [&length.to_be_bytes(), &PROTOCOL_3_0.to_be_bytes(), body.as_bytes()].concat()
}

/// An error's fields are a letter and a text each, ended by a zero; `C` is the SQLSTATE.
fn meaning_of(fields: &[u8]) -> Answer {
    match fields.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C")) {
        Some(b"57P03") => Answer::NotYet,
        Some(b"3D000") => Answer::NoDatabase,
        // Too many connections, for one: it is up, and says so.
        _ => Answer::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_tells_a_cluster_that_starts_from_one_that_is_up() {
        assert_eq!(meaning_of(b"SFATAL\0VFATAL\0C57P03\0Mstarting\0\0"), Answer::NotYet);
        assert_eq!(meaning_of(b"SFATAL\0C3D000\0Mno database\0\0"), Answer::NoDatabase);
        assert_eq!(meaning_of(b"SFATAL\0C53300\0Mtoo many\0\0"), Answer::Ready);
    }
}
