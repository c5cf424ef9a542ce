//! Points over HTTP: issued, spent, adjusted, taken back.

use accrue_tests::server::Server;
use insta::assert_snapshot;
use serde_json::{Value, json};

/// `lot points` of each part.
pub(crate) fn parts(data: &Value) -> String {
    let parts = data["lots"].as_array().expect("the event names its lots").iter();
    let part = |it: &Value| format!("{} {}", it["lot"].as_str().expect("a lot"), it["points"]);
    parts.map(part).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn points_are_spent_soonest_to_expire_first_and_every_spend_names_its_lots() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let issue = "/v1/accounts/ann/points/issue";
    for body in [
        json!({"points": 20, "lot": "keeps", "expires": "never"}),
        json!({"points": 50, "lot": "late", "expires": {"at": "2999-06-01T00:00:00Z"}}),
        json!({"points": 30, "lot": "soon", "expires": {"at": "2999-01-01T00:00:00Z"}}),
        json!({"points": 7, "lot": "pending", "expires": {"at": "2998-01-01T00:00:00Z"},
               "available_from": "2997-01-01T00:00:00Z"}),
    ] {
        let answer = client.post(issue, body).await.expect(201);
        assert_eq!(answer.data("PointsIssued").len(), 1, "{}", answer.text);
    }
    let redeem = "/v1/accounts/ann/points/redeem";
    let spent = client.post(redeem, json!({"points": 85, "reference": "order 17"})).await;
    let spent = spent.expect(200);
    let data = &spent.data("PointsRedeemed")[0];
    assert_eq!(data["reference"], "order 17");
    assert_snapshot!(parts(data), @"soon 30, late 50, keeps 5");
    let balance = client.balance("ann", spent.position()).await;
    assert_snapshot!(balance, @"available 15, pending 7; pending 7; keeps 15");

    // The last that works was 15; the first that does not is 16.
    let refused = client.post(redeem, json!({"points": 16})).await;
    assert_snapshot!(refused.problem(), @"409 insufficient-points /points");
    let last = client.post(redeem, json!({"points": 15})).await;
    assert_snapshot!(client.balance("ann", last.position()).await, @"available 0, pending 7; pending 7");
}

#[tokio::test]
async fn an_issue_taken_back_leaves_a_debt_that_later_issues_repay() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let issue = "/v1/accounts/bob/points/issue";
    let reverse = "/v1/accounts/bob/points/reverse";
    client.post(issue, json!({"points": 100, "lot": "a"})).await.expect(201);
    client.post("/v1/accounts/bob/points/redeem", json!({"points": 90})).await.expect(200);
    client.post(issue, json!({"points": 30, "lot": "b"})).await.expect(201);

    let part = client.post(reverse, json!({"lot": "a", "points": 15})).await.expect(200);
    assert_snapshot!(parts(&part.data("PointsReversed")[0]), @"a 10, b 5");
    let rest = client.post(reverse, json!({"lot": "a", "reference": "fraud"})).await.expect(200);
    let data = &rest.data("PointsReversed")[0];
    assert_snapshot!(parts(data), @"b 25");
    assert_eq!((&data["points"], &data["debt"]), (&json!(85), &json!(60)));
    assert_snapshot!(client.balance("bob", rest.position()).await, @"available 0, debt 60");

    let less = client.post(issue, json!({"points": 40, "lot": "c"})).await.expect(201);
    assert_eq!(less.data("DebtRepaid")[0]["points"], 40);
    assert_snapshot!(client.balance("bob", less.position()).await, @"available 0, debt 20");
    let more = client.post(issue, json!({"points": 50, "lot": "d"})).await.expect(201);
    assert_snapshot!(client.balance("bob", more.position()).await, @"available 30; d 30");

    let again = client.post(reverse, json!({"lot": "a"})).await;
    assert_snapshot!(again.problem(), @"409 already-reversed /lot");
    let unknown = client.post(reverse, json!({"lot": "z"})).await;
    assert_snapshot!(unknown.problem(), @"404 unknown-lot /lot");
}

#[tokio::test]
async fn an_adjustment_goes_both_ways_and_says_why_and_who() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let adjust = "/v1/accounts/cy/points/adjust";
    let body = json!({"points": 50, "reason": "late parcel", "actor": "desk-7", "lot": "sorry"});
    let credit = client.post(adjust, body).await.expect(200);
    let data = &credit.data("PointsCredited")[0];
    assert_eq!((&data["reason"], &data["actor"]), (&json!("late parcel"), &json!("desk-7")));
    let body = json!({"points": -20, "reason": "counted twice", "actor": "desk-7"});
    let debit = client.post(adjust, body).await.expect(200);
    assert_snapshot!(parts(&debit.data("PointsDebited")[0]), @"sorry 20");
    assert_snapshot!(client.balance("cy", debit.position()).await, @"available 30; sorry 30");

    for (body, expected) in [
        (json!({"points": -31, "reason": "r", "actor": "a"}), "409 insufficient-points /points"),
        (json!({"points": 0, "reason": "r", "actor": "a"}), "422 invalid-request /points"),
        (json!({"points": 5, "actor": "a"}), "422 invalid-request /reason"),
        (json!({"points": 5, "reason": "r"}), "422 invalid-request /actor"),
        (json!({"points": 5, "reason": "", "actor": "a"}), "422 invalid-request /reason"),
        (
            json!({"points": -5, "reason": "r", "actor": "a", "lot": "x"}),
            "422 invalid-request /lot",
        ),
    ] {
        assert_eq!(client.post(adjust, body.clone()).await.problem(), expected, "{body}");
    }
    assert_snapshot!(client.balance("cy", debit.position()).await, @"available 30; sorry 30");
}

#[tokio::test]
async fn what_is_no_amount_of_points_is_refused_by_name_and_nothing_happens() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client
        .post("/v1/accounts/dee/points/issue", json!({"points": 10, "lot": "a"}))
        .await
        .expect(201);
    client.post("/v1/accounts/dee/holds", json!({"id": "h", "points": 3})).await.expect(201);
    let before = client.events_count().await;
    let wrong = [
        "0",
        "-1",
        "1.5",
        "1.0",
        "1e2",
        "\"10\"",
        "1000000000001",
        "9223372036854775808",
        "1e400",
        "-1e400",
        "null",
        "true",
        "[]",
        "{}",
        "0.0000001",
        "1e-400",
    ];
    for points in wrong {
        for (path, rest) in [
            ("points/issue", ""),
            ("points/redeem", ""),
            ("points/adjust", ",\"reason\":\"r\",\"actor\":\"a\""),
            ("points/reverse", ",\"lot\":\"a\""),
            ("holds", ",\"id\":\"i\""),
            ("holds/h/capture", ""),
        ] {
            // A debit is a negative adjustment, and where points are optional null is none.
            let optional = matches!(path, "points/reverse" | "holds/h/capture");
            if (points == "-1" && path == "points/adjust") || (points == "null" && optional) {
                continue;
            }
            let body = format!("{{\"points\":{points}{rest}}}");
            let answer = client.post_text(&format!("/v1/accounts/dee/{path}"), body.clone()).await;
            assert_eq!(answer.problem(), "422 invalid-request /points", "{path} {body}");
        }
    }
    for path in ["points/issue", "points/redeem"] {
        let answer = client.post(&format!("/v1/accounts/dee/{path}"), json!({})).await;
        assert_eq!(answer.problem(), "422 invalid-request /points", "missing");
    }
    assert_eq!(client.events_count().await, before, "nothing was appended");
    let most = json!({"points": 1_000_000_000_000_i64});
    client.post("/v1/accounts/max/points/issue", most).await.expect(201);
}

#[tokio::test]
async fn fifty_redeems_at_once_spend_a_balance_once() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    client.post("/v1/accounts/eve/points/issue", json!({"points": 100})).await.expect(201);
    let redeem = || client.post("/v1/accounts/eve/points/redeem", json!({"points": 100}));
    let answers = futures::future::join_all((0..50).map(|_| redeem())).await;
    let accepted: Vec<_> = answers.iter().filter(|it| it.status == 200).collect();
    assert_eq!(accepted.len(), 1);
    for refused in answers.iter().filter(|it| it.status != 200) {
        assert_eq!(refused.problem(), "409 insufficient-points /points");
    }
    assert_snapshot!(client.balance("eve", accepted[0].position()).await, @"available 0");
}

#[tokio::test]
async fn an_expiry_by_period_ends_with_the_month_in_the_programs_zone() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let settings = json!({"currency": "EUR", "zone": "Europe/Berlin", "expiry": {"after": "P1M"}});
    client.put("/v1/program", settings.clone()).await.expect(200);
    let program = client.get("/v1/program").await.expect(200).json();
    assert_eq!(program["zone"], "Europe/Berlin");
    let issue = "/v1/accounts/fay/points/issue";
    let expires_at = async |body: Value| {
        let answer = client.post(issue, body).await.expect(201);
        answer.data("PointsIssued")[0]["expires_at"].as_str().expect("it lapses").to_owned()
    };
    // 31 January and a month: clamped, in local time.
    let january = "2026-01-31T12:00:00Z";
    let by_program = expires_at(json!({"points": 1, "occurred_at": january})).await;
    assert_snapshot!(by_program, @"2026-02-28T12:00:00Z");
    let rounded = json!({"after": "P12M", "round": "month_end"});
    let rounded = json!({"points": 1, "occurred_at": january, "expires": rounded});
    assert_snapshot!(expires_at(rounded).await, @"2027-01-31T23:00:00Z");
    let rounded = json!({"after": "P1Y", "round": "year_end"});
    let rounded = json!({"points": 1, "occurred_at": january, "expires": rounded});
    assert_snapshot!(expires_at(rounded).await, @"2027-12-31T23:00:00Z");
}

#[tokio::test]
async fn a_balance_says_when_how_many_points_will_lapse_next() {
    let (_database, server) = Server::create().await;
    let client = server.client();
    let mut position = 0;
    for (points, expires) in [
        (5, json!({"at": "2999-06-01T00:00:00Z"})),
        (1, json!("never")),
        (30, json!({"at": "2999-01-01T00:00:00Z"})),
        (2, json!({"at": "2999-06-01T00:00:00Z"})),
    ] {
        let issue = json!({"points": points, "expires": expires});
        position = client.post("/v1/accounts/gil/points/issue", issue).await.position();
    }
    let balance = client.get(&format!("/v1/accounts/gil?min_position={position}")).await;
    let expiring = &balance.expect(200).json()["expiring"];
    assert_snapshot!(expiring, @r#"[{"at":"2999-01-01T00:00:00Z","points":30},{"at":"2999-06-01T00:00:00Z","points":7}]"#);
    let spent = client.post("/v1/accounts/gil/points/redeem", json!({"points": 31})).await;
    let path = format!("/v1/accounts/gil?min_position={}", spent.position());
    let expiring = &client.get(&path).await.expect(200).json()["expiring"];
    assert_snapshot!(expiring, @r#"[{"at":"2999-06-01T00:00:00Z","points":6}]"#);
}
