//! A client that asks and keeps the whole answer.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

/// Longer than any wait of the server's own.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    headers: HeaderMap,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request, for failures.
    pub request: String,
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub text: String,
}

impl Client {
    /// A client of that server.
    ///
    /// # Panics
    /// When no client can be made at all.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let http =
            reqwest::Client::builder().timeout(ANSWER_MAX).no_proxy().tls_certs_only([]).build();
        let http = http.expect("a client can be made");
        Self { http, url: url.to_owned(), headers: HeaderMap::new() }
    }

    /// The same client with one more header on every request.
    ///
    /// # Panics
    /// When that is no header.
    #[must_use]
    pub fn with(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        let value = HeaderValue::from_str(value).expect("a header's value");
        client.headers.insert(HeaderName::from_static(name), value);
        client
    }

    /// The same client with this header twice.
    #[must_use]
    pub fn with_twice(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.with(name, value);
        let value = HeaderValue::from_str(value).expect("a header's value");
        client.headers.append(HeaderName::from_static(name), value);
        client
    }

    /// The same client in another program.
    #[must_use]
    pub fn of_program(&self, program: &str) -> Self {
        self.with("accrue-program", program)
    }

    /// The same client with an `Idempotency-Key`.
    #[must_use]
    pub fn keyed(&self, key: &str) -> Self {
        self.with("idempotency-key", key)
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None::<String>).await
    }

    /// `POST` of a JSON document.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::POST, path, body.to_string()).await
    }

    /// `PUT` of a JSON document.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::PUT, path, body.to_string()).await
    }

    /// `PATCH` of a JSON document.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send_json(Method::PATCH, path, body.to_string()).await
    }

    /// `POST` of a JSON document, which may get no answer.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn try_post(&self, path: &str, body: Value) -> reqwest::Result<Answer> {
        let client = self.with("content-type", "application/json");
        client.try_send(Method::POST, path, Some(body.to_string())).await
    }

    /// `POST` of that very text as JSON.
    pub async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send_json(Method::POST, path, body).await
    }

    /// `POST` of NDJSON.
    pub async fn post_lines(&self, path: &str, lines: impl Into<reqwest::Body>) -> Answer {
        self.with("content-type", "application/x-ndjson")
            .send(Method::POST, path, Some(lines))
            .await
    }

    async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        if self.headers.contains_key(CONTENT_TYPE) {
            return self.send(method, path, Some(body)).await;
        }
        self.with("content-type", "application/json").send(method, path, Some(body)).await
    }

    /// Any request.
    ///
    /// # Panics
    /// When no answer comes back.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<impl Into<reqwest::Body>>,
    ) -> Answer {
        let answer = self.try_send(method.clone(), path, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// Any request, which may get no answer.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<impl Into<reqwest::Body>>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.request(method.clone(), path);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        Ok(Answer { request: format!("{method} {path}"), status, headers, text })
    }

    /// What an account has at that position or later, in one line.
    ///
    /// # Panics
    /// When it is not told.
    pub async fn balance(&self, account: &str, position: i64) -> String {
        let path = format!("/v1/accounts/{account}?min_position={position}");
        let balance = self.get(&path).await.expect(200).json();
        let of = |name: &str| balance[name].as_i64().expect("a balance is whole points");
        let mut line = format!("available {}", of("available"));
        for name in ["pending", "held", "debt"] {
            if of(name) != 0 {
                line.push_str(&format!(", {name} {}", of(name)));
            }
        }
        for lot in balance["lots"].as_array().expect("lots") {
            let name = lot["lot"].as_str().expect("a lot's name");
            line.push_str(&format!("; {name} {}", lot["remaining"]));
        }
        line
    }

    /// How many events the program's log has, as its clients see it.
    ///
    /// # Panics
    /// When there are more than a page.
    pub async fn events_count(&self) -> usize {
        let page = self.get("/v1/events?limit=500").await.expect(200).json();
        assert!(page["next"].is_null(), "more than a page");
        page["items"].as_array().expect("a page has items").len()
    }

    /// A request to build on.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).headers(self.headers.clone())
    }
}

impl Answer {
    /// The answer, if it has that status.
    ///
    /// # Panics
    /// When it has another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text);
        self
    }

    /// The answer, if the request was taken: whoever does not wait may be told that it is through
    /// already, or that it is on its way, as it comes.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn taken(self) -> Self {
        assert!((200..=202).contains(&self.status), "{}: {}", self.request, self.text);
        self
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.request, self.text))
    }

    /// One check of `/readyz`, by its name.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    #[must_use]
    pub fn check(&self, name: &str) -> Value {
        let ready = self.json();
        let mut checks = ready["checks"].as_array().into_iter().flatten();
        let found = checks.find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {ready}")).clone()
    }

    /// The body's lines as JSON.
    ///
    /// # Panics
    /// When one is none.
    #[track_caller]
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.text.lines();
        lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    /// A header, empty where absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default()
    }

    /// The position of an accepted write.
    ///
    /// # Panics
    /// When it was not accepted.
    #[track_caller]
    #[must_use]
    pub fn position(&self) -> i64 {
        assert!(matches!(self.status, 200 | 201), "{}: {}", self.request, self.text);
        self.json()["position"].as_i64().expect("a write is answered with its position")
    }

    /// `data` of the accepted write's events of that type.
    #[track_caller]
    #[must_use]
    pub fn data(&self, event_type: &str) -> Vec<Value> {
        let json = self.json();
        let events = json["events"].as_array().cloned().unwrap_or_default();
        let of_type = events.into_iter().filter(|it| it["type"] == event_type);
        of_type.map(|mut it| it["data"].take()).collect()
    }

    /// The problem in short: status, type, and the fields at fault.
    ///
    /// # Panics
    /// When the answer is no problem as RFC 9457 has it.
    #[track_caller]
    #[must_use]
    pub fn problem(&self) -> String {
        let about = || format!("{}: {} {:?}", self.request, self.status, self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", about());
        let json = self.json();
        assert_eq!(json["status"], self.status, "{}", about());
        for member in ["title", "detail"] {
            assert!(json[member].as_str().is_some_and(|it| !it.is_empty()), "{}", about());
        }
        let r#type = json["type"].as_str().and_then(|it| it.strip_prefix("/problems/"));
        let mut short = format!("{} {}", self.status, r#type.expect("a stable type"));
        for error in json["errors"].as_array().into_iter().flatten() {
            short.push(' ');
            short.push_str(error["pointer"].as_str().expect("a pointer"));
        }
        short
    }
}
