//! Spans: pieces of work within a trace, told to whoever collects traces. Where nobody does, which is
//! the rule, a span is no more than the context that it was given.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::global::{self, BoxedSpan};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, Value};

static COLLECTED: AtomicBool = AtomicBool::new(false);

/// Says that spans are collected, by the provider that is the global one by now.
pub fn collect() {
    COLLECTED.store(true, Ordering::Relaxed);
}

/// Whether anybody collects spans.
#[must_use]
pub fn is_collected() -> bool {
    COLLECTED.load(Ordering::Relaxed)
}

/// A piece of work; it ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    context: Option<Arc<str>>,
    span: Option<BoxedSpan>,
}

impl Span {
    /// Work for a request from outside.
    #[must_use]
    pub fn server(name: impl Into<Cow<'static, str>>, parent: Option<Arc<str>>) -> Self {
        Self::begin(name.into(), SpanKind::Server, parent)
    }

    /// Work that follows from an event.
    #[must_use]
    pub fn consumer(name: impl Into<Cow<'static, str>>, parent: Option<Arc<str>>) -> Self {
        Self::begin(name.into(), SpanKind::Consumer, parent)
    }

    fn begin(name: Cow<'static, str>, kind: SpanKind, parent: Option<Arc<str>>) -> Self {
        if !is_collected() {
            return Self { context: parent, span: None };
        }
        let root = Context::new();
        let around = match parent.as_deref().and_then(remote) {
            Some(parent) => root.with_remote_span_context(parent),
            None => root,
        };
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        let span = global::tracer("accrue").build_with_context(builder, &around);
        let context = Some(written(span.span_context()));
        Self { context, span: Some(span) }
    }

    /// What the work is to be done within.
    #[must_use]
    pub fn context(&self) -> Option<Arc<str>> {
        self.context.clone()
    }

    /// Adds what is known of it.
    pub fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new(name, value.into()));
        }
    }

    /// Says that it failed.
    pub fn failed(&mut self, why: &str) {
        if let Some(span) = &mut self.span {
            span.set_status(Status::error(why.to_owned()));
        }
    }
}

fn remote(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    Some(SpanContext::new(trace, span, TraceFlags::new(flags), true, TraceState::default()))
}

fn written(of: &SpanContext) -> Arc<str> {
    let flags = of.trace_flags().to_u8();
    format!("00-{}-{}-{flags:02x}", of.trace_id(), of.span_id()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_nobody_collects_is_its_parent_s_context() {
        let parent: Arc<str> = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into();
        let mut span = Span::server("work", Some(Arc::clone(&parent)));
        span.note("count", 1);
        assert_eq!(span.context(), Some(Arc::clone(&parent)));
        let read = remote(&parent).map(|it| written(&it));
        assert_eq!(read, Some(parent), "what is read is written as it was");
    }
}
