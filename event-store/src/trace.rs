//! Trace context: which conversation between services a command belongs to, as W3C's `traceparent`
//! says it. It goes from a request into the metadata of the events that follow from it, and from
//! those into the commands of followers.
//!
//! It is carried by the task and not by the envelope: it is no part of what a command asks for, so
//! a retry with another one is the same command.

pub mod span;

use std::future::Future;
use std::sync::Arc;

use crate::record::Recorded;

/// The header, and the name in the metadata.
pub const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CONTEXT: Option<Arc<str>>;
}

/// The context of this task.
#[must_use]
pub fn current() -> Option<Arc<str>> {
    CONTEXT.try_with(Clone::clone).ok().flatten()
}

/// Works within a context. What the work spawns is outside of it.
pub async fn within<F: Future>(context: Option<Arc<str>>, work: F) -> F::Output {
    CONTEXT.scope(context, work).await
}

/// The context that an event was made in.
#[must_use]
pub fn of(event: &Recorded) -> Option<Arc<str>> {
    // Nearly all events are made without; to look is cheaper than to parse.
    if !event.row.metadata.contains(TRACEPARENT) {
        return None;
    }
    event.metadata().ok().and_then(|metadata| metadata.traceparent)
}

/// The text if it is a context as W3C has it; anything else is nobody's.
#[must_use]
pub fn parse(text: &str) -> Option<Arc<str>> {
    let mut parts = text.split('-');
    let hex = |part: &str, digits| {
        let plain = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        part.len() == digits && part.bytes().all(plain)
    };
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = parts.next()?;
    // A version that is not known yet may have more parts, which are not for us.
    let sound = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && hex(span, 16)
        && hex(flags, 2)
        && (version != "00" || parts.next().is_none());
    let empty = |part: &str| part.bytes().all(|it| it == b'0');
    if !sound || empty(trace) || empty(span) {
        return None;
    }
    Some(format!("00-{trace}-{span}-{flags}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_taken_as_w3c_writes_it_and_nothing_else() {
        assert_eq!(parse(GOOD).as_deref(), Some(GOOD));
        let later = GOOD.replacen("00", "01", 1) + "-what-comes-then";
        assert_eq!(parse(&later).as_deref(), Some(GOOD));
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_context_is_the_task_s_own() {
        assert_eq!(current(), None);
        let inner = within(parse(GOOD), async { (current(), tokio::spawn(async { current() })) });
        let (inside, spawned) = inner.await;
        assert_eq!(inside.as_deref(), Some(GOOD));
        assert_eq!(spawned.await.unwrap(), None);
    }
}
