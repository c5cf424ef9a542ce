//! Keeps web pages out. There is no authentication yet, so whatever runs in a browser on this
//! machine could post to the port: a page of another origin, or one whose name was made to point
//! to loopback (DNS rebinding). Neither can send our own name as `Host` and `Origin`. In a network
//! we have names that we do not know, so that only pages of another origin are kept out there.

use accrue_http::problem::Problem;
use axum::http::{HeaderMap, StatusCode, Uri, header};

/// Who may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Programs of this machine.
    Machine,
    /// Whoever reaches the port.
    Network,
}

/// Whether a request comes from a program that may be served. A plain function and no layer: it is
/// on the way of every request.
///
/// # Errors
/// The problem that it is answered with.
pub(super) fn check(reach: Reach, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    // A request line may hold the whole URL, which then counts instead of the header.
    let host = uri.authority().map(|it| it.as_str()).or_else(|| text(header::HOST));
    let Some(host) = host else { return Ok(()) };
    if reach == Reach::Machine && !is_loopback(host) {
        return Err(refusal("Host", "expected localhost or a loopback address"));
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(_) if text(header::ORIGIN).and_then(|it| it.strip_prefix("http://")) == Some(host) => {
            Ok(())
        }
        Some(_) => Err(refusal("Origin", "expected the origin of this server, or none")),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn refusal(header: &str, detail: &str) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "not-this-machine",
        "Only programs of this machine are served",
        format!("{header}: {detail}"),
    )
    .at(header, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(reach: Reach, host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, header::HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, header::HeaderValue::from_static(origin));
        }
        check(reach, &headers, &Uri::from_static("/v1/sales")).is_ok()
    }

    fn allowed(host: &'static str, origin: Option<&'static str>) -> bool {
        served(Reach::Machine, host, origin)
    }

    #[test]
    fn in_a_network_any_name_is_ours_and_pages_of_other_origins_are_kept_out_still() {
        assert!(served(Reach::Network, "api:8080", None));
        assert!(served(Reach::Network, "10.0.0.7:8080", Some("http://10.0.0.7:8080")));
        assert!(!served(Reach::Network, "api:8080", Some("http://evil.example")));
    }

    #[test]
    fn programs_of_this_machine_and_our_own_pages_are_served() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "127.0.0.9", "[::1]:8080"] {
            assert!(allowed(host, None), "{host}");
        }
        assert!(allowed("localhost:8080", Some("http://localhost:8080")));
        assert!(
            check(Reach::Machine, &HeaderMap::new(), &Uri::from_static("/")).is_ok(),
            "HTTP/1.0"
        );
    }

    #[test]
    fn other_names_and_pages_of_other_origins_are_not() {
        for host in ["evil.example:8080", "192.168.1.7:8080", "127.0.0.1.evil.example", ""] {
            assert!(!allowed(host, None), "{host}");
        }
        for origin in ["http://evil.example", "http://localhost:3000", "null"] {
            assert!(!allowed("localhost:8080", Some(origin)), "{origin}");
        }
        let whole = Uri::from_static("http://evil.example/v1/sales");
        assert!(check(Reach::Machine, &HeaderMap::new(), &whole).is_err());
    }
}
