//! A collector of traces that takes OTLP over HTTP and remembers what it was told.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its trace.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of the span that it is part of; empty for a root.
    pub parent: String,
    /// What was done.
    pub name: String,
}

/// The collector.
#[derive(Debug)]
pub struct Collector {
    /// Where it is.
    pub url: String,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let told = Arc::new(Mutex::new(Vec::new()));
        let taking = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&taking)));
            }
        });
        Self { url: format!("http://{address}"), told }
    }

    /// What it was told so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes requests of one connection.
async fn take(stream: TcpStream, told: Arc<Mutex<Vec<Told>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(body) = request(&mut stream).await {
        let request = ExportTraceServiceRequest::decode(&*body).expect("OTLP in protobuf");
        let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
        let spans = scopes.flat_map(|it| it.spans).map(|span| Told {
            trace: hex::encode(span.trace_id),
            id: hex::encode(span.span_id),
            parent: hex::encode(span.parent_span_id),
            name: span.name,
        });
        told.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                      content-length: 0\r\n\r\n";
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The body of the next request; none at the end.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            assert!(line.starts_with("POST /v1/traces "), "{line}");
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}
