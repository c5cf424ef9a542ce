//! Whatever comes in: a problem with a stable type goes out, never a 500, and the server lives on.

use std::io::{Read, Write};
use std::net::TcpStream;

use accrue_tests::client::Client;
use accrue_tests::eventually::eventually;
use accrue_tests::server::Server;
use reqwest::Method;
use serde_json::json;

const ISSUE: &str = "/v1/accounts/ann/points/issue";

async fn text(client: &Client, body: impl Into<reqwest::Body>) -> String {
    client.post_text(ISSUE, body).await.problem()
}

#[tokio::test]
async fn bodies_that_are_not_what_they_must_be() {
    let (_database, server) = Server::create().await;
    let client = &server.client();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deep_rules = format!(r#"{{"id":"c","name":"n","rules":{}}}"#, deep(100_000));
    let huge = format!(r#"{{"points":1,"reference":"{}"}}"#, "x".repeat(2 << 20));
    let many = format!("{{{}\"points\":1}}", "\"points\":1,".repeat(50_000));
    for (body, expected) in [
        (br#"{"points":1,"colour":"red"}"#.to_vec(), "422 invalid-request /colour"),
        (br#"{"points":1,"points":2}"#.to_vec(), "422 invalid-request /points"),
        (br#"{"points":1"#.to_vec(), "400 malformed-json"),
        (br#"{"points":1}}"#.to_vec(), "400 malformed-json"),
        (b"{points:1}".to_vec(), "400 malformed-json"),
        (b"".to_vec(), "400 malformed-json"),
        (b"   ".to_vec(), "400 malformed-json"),
        (b"\0".to_vec(), "400 malformed-json"),
        (b"{\"points\":1,\"reference\":\"\xff\xfe\"}".to_vec(), "400 malformed-json"),
        (br#"{"points":1,"reference":"a\u0000b"}"#.to_vec(), "422 invalid-request /reference"),
        (br#"{"points":1,"reference":"a\nb"}"#.to_vec(), "422 invalid-request /reference"),
        (br#"{"points":1,"reference":"\ud800"}"#.to_vec(), "400 malformed-json"),
        (br#"{"points":1,"reference":""}"#.to_vec(), "422 invalid-request /reference"),
        (
            br#"{"points":1,"expires":{"after":"P1X"}}"#.to_vec(),
            "422 invalid-request /expires/after",
        ),
        (br#"{"points":1,"expires":"later"}"#.to_vec(), "422 invalid-request /expires"),
        (br#"{"points":1,"occurred_at":"yesterday"}"#.to_vec(), "422 invalid-request /occurred_at"),
        (br#"{"points":1,"lot":"a b"}"#.to_vec(), "422 invalid-request /lot"),
        (b"[1]".to_vec(), "422 invalid-request "),
        (b"null".to_vec(), "422 invalid-request "),
        (b"1e400".to_vec(), "422 invalid-request "),
        (deep(100_000).into_bytes(), "422 invalid-request "),
        (many.into_bytes(), "422 invalid-request /points"),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(text(client, body).await, expected, "{shown}");
    }
    // Who is refused while still sending may find the connection gone before there is an answer.
    let json = client.with("content-type", "application/json");
    let too_large = eventually("an answer", async || {
        json.try_send(Method::POST, ISSUE, Some(huge.clone())).await.ok()
    })
    .await;
    assert_eq!(too_large.problem(), "413 body-too-large");
    assert_eq!(too_large.header("connection"), "close", "nothing is sent into it any more");
    let answer = client.post_text("/v1/campaigns", deep_rules).await;
    assert_eq!(answer.status / 100, 4, "{}", answer.problem());
    assert_eq!(client.events_count().await, 0);
    client.post(ISSUE, json!({"points": 1})).await.expect(201);
}

#[tokio::test]
async fn paths_methods_headers_and_parameters_that_are_not_what_they_must_be() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let body = json!({"points": 1});
    let none = None::<String>;
    let long = format!("/v1/accounts/{}", "a".repeat(101));
    for (method, path, expected) in [
        (Method::GET, "/nothing", "404 unknown-path"),
        (Method::GET, "/v1", "404 unknown-path"),
        (Method::GET, "/v1/accounts/a/b/c/d", "404 unknown-path"),
        (Method::POST, "/v1/accounts/ann", "405 method-not-allowed"),
        (Method::DELETE, "/v1/events", "405 method-not-allowed"),
        (Method::GET, ISSUE, "405 method-not-allowed"),
        (Method::POST, "/readyz", "405 method-not-allowed"),
        (Method::GET, "/v1/accounts/ann", "404 unknown-account"),
        (Method::GET, "/v1/accounts/ann/statement", "404 unknown-account"),
        (Method::GET, "/v1/accounts/a%20b", "422 invalid-request account"),
        (Method::GET, "/v1/accounts/%ff", "422 invalid-request account"),
        (Method::GET, "/v1/accounts/a%00b", "422 invalid-request account"),
        (Method::GET, "/v1/accounts/a%2fb", "422 invalid-request account"),
        (Method::GET, &long, "422 invalid-request account"),
        (Method::GET, "/v1/accounts?cursor=zz", "422 invalid-request cursor"),
        (Method::GET, "/v1/accounts?cursor=f", "422 invalid-request cursor"),
        (Method::GET, "/v1/accounts?cursor=ff", "422 invalid-request cursor"),
        (Method::GET, "/v1/accounts?limit=0", "422 invalid-request limit"),
        (Method::GET, "/v1/accounts?limit=501", "422 invalid-request limit"),
        (Method::GET, "/v1/accounts?limit=many", "422 invalid-request limit"),
        (Method::GET, "/v1/accounts?min_position=-1", "422 invalid-request min_position"),
        (Method::GET, "/v1/events?after=-1", "422 invalid-request after"),
        (Method::GET, "/v1/events?after=99999999999999999999", "422 invalid-request after"),
        (Method::GET, "/v1/accounts/ann?at=yesterday", "422 invalid-request at"),
    ] {
        let answer = client.send(method, path, none.clone()).await;
        assert_eq!(answer.problem(), expected, "{}: {}", answer.request, answer.text);
        if answer.status == 405 {
            assert!(!answer.header("allow").is_empty(), "{}", answer.request);
        }
    }
    let unknown = client.get("/v1/accounts?colour=red").await;
    assert_eq!(unknown.status, 422, "{}", unknown.text);
    let unknown = client.post(&format!("{ISSUE}?dryrun=true"), body.clone()).await;
    assert_eq!(unknown.status, 422, "a slip in dry_run is not done for real: {}", unknown.text);

    for (name, value, expected) in [
        ("content-type", "text/plain", "415 unsupported-media-type Content-Type"),
        ("content-encoding", "gzip", "415 unsupported-encoding Content-Encoding"),
        (
            "content-type",
            "application/x-www-form-urlencoded",
            "415 unsupported-media-type Content-Type",
        ),
        (
            "content-type",
            "application/json; Charset=\"utf-16\"",
            "415 unsupported-media-type Content-Type",
        ),
        ("accrue-program", "A B", "422 invalid-request Accrue-Program"),
        ("accrue-program", "a/b", "422 invalid-request Accrue-Program"),
        ("accrue-program", "", "422 invalid-request Accrue-Program"),
        ("if-match", "soon", "422 invalid-request If-Match"),
        ("host", "evil.example", "403 not-this-machine Host"),
        ("origin", "http://evil.example", "403 not-this-machine Origin"),
    ] {
        let answer = client.with(name, value).post(ISSUE, body.clone()).await;
        assert_eq!(answer.problem(), expected, "{name}: {value}");
    }
    for (name, shown, value) in [
        ("accrue-program", "Accrue-Program", "default"),
        ("idempotency-key", "Idempotency-Key", "k"),
        ("accrue-correlation-id", "Accrue-Correlation-Id", "c"),
        ("accrue-causation-id", "Accrue-Causation-Id", "c"),
        ("accrue-actor", "Accrue-Actor", "till"),
        ("if-match", "If-Match", "*"),
        ("content-type", "Content-Type", "application/json"),
    ] {
        let answer = client.with_twice(name, value).post(ISSUE, body.clone()).await;
        assert_eq!(answer.problem(), format!("422 invalid-request {shown}"), "{}", answer.text);
        assert!(answer.text.contains("expected the header once"), "{}", answer.text);
    }
    let events = client.with_twice("accept", "application/json").get("/v1/events").await;
    assert_eq!(events.problem(), "422 invalid-request Accept", "{}", events.text);
    // What makes a sale or a purchase, and changes an account or goods with it.
    let total = json!({"amount": 5, "currency": "GBP"});
    let sale = json!({"id": "s", "account": "a", "total": total});
    let order = json!({"id": "p", "account": "a", "lines": [{"product": "x", "quantity": 1}],
                       "tenders": [{"kind": "wallet", "wallet": "a"}]});
    for (path, body) in [("/v1/sales", sale), ("/v1/purchases", order)] {
        for version in ["\"0\"", "*"] {
            let answer = client.with("if-match", version).post(path, body.clone()).await;
            assert_eq!(answer.problem(), "422 invalid-request If-Match", "{path}: {}", answer.text);
        }
    }
    assert_eq!(client.events_count().await, 0);
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_own_connection_only() {
    let (_database, server) = Server::create().await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let garbage: [&[u8]; 6] = [
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/sales HTTP/1.1\r\nhost: localhost\r\ncontent-length: abc\r\n\r\n",
        b"POST /v1/sales HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{",
        b"GET /v1/accounts/\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ];
    for bytes in garbage {
        let address = address.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(bytes).expect("it reads");
            stream.shutdown(std::net::Shutdown::Write).expect("we may stop");
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        });
        let answer = answered.await.expect("the thread lives");
        assert!(!answer.contains(" 500 "), "{answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    server.client().post(ISSUE, json!({"points": 1})).await.expect(201);
}
