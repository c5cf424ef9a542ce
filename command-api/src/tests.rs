use insta::assert_snapshot;

#[test]
fn every_write_is_described() {
    let api = serde_json::to_value(crate::openapi()).unwrap();
    let mut lines = Vec::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let tag = operation["tags"][0].as_str().unwrap();
            let id = operation["operationId"].as_str().unwrap();
            let statuses: Vec<_> =
                operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
            lines.push(format!("{method} {path} {tag} {id} {}", statuses.join(",")));
        }
    }
    lines.sort();
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_call_that_takes_a_version_and_no_other_says_412() {
    let api = serde_json::to_value(crate::openapi()).unwrap();
    let mut count = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let versioned = parameters.into_iter().any(|it| it["name"] == "If-Match");
            let told = operation["responses"].get("412").is_some();
            assert_eq!(versioned, told, "{method} {path}");
            count += usize::from(versioned);
        }
    }
    assert!(count > 20, "{count} take one");
}

#[test]
fn every_example_is_taken() {
    use accrue_http::extract::from_json;
    fn check<T: serde::de::DeserializeOwned>(api: &serde_json::Value, name: &str) {
        let example = &api["components"]["schemas"][name]["example"];
        let taken = from_json::<T>(example.to_string().as_bytes());
        assert!(taken.is_ok(), "{name}: {:?}", taken.err());
    }
    let api = serde_json::to_value(crate::openapi()).unwrap();
    check::<crate::sales::RecordSale>(&api, "RecordSale");
    check::<crate::sales::ReturnSale>(&api, "ReturnSale");
    check::<crate::points::IssuePoints>(&api, "IssuePoints");
    check::<crate::points::RedeemPoints>(&api, "RedeemPoints");
    check::<crate::points::AdjustPoints>(&api, "AdjustPoints");
    check::<crate::points::ReversePoints>(&api, "ReversePoints");
    check::<crate::holds::PlaceHold>(&api, "PlaceHold");
    check::<crate::holds::CaptureHold>(&api, "CaptureHold");
    check::<crate::holds::ReleaseHold>(&api, "ReleaseHold");
    check::<crate::campaigns::CreateCampaign>(&api, "CreateCampaign");
    check::<crate::campaigns::ReplaceRules>(&api, "ReplaceRules");
    check::<crate::campaigns::Evaluate>(&api, "Evaluate");
    check::<crate::products::CreateProduct>(&api, "CreateProduct");
    check::<crate::products::ChangeProduct>(&api, "ChangeProduct");
    check::<crate::products::AdjustStock>(&api, "AdjustStock");
    check::<crate::products::HoldStock>(&api, "HoldStock");
    check::<crate::products::CaptureStock>(&api, "CaptureStock");
    check::<crate::products::ReleaseStock>(&api, "ReleaseStock");
    check::<crate::wallets::TopUpWallet>(&api, "TopUpWallet");
    check::<crate::wallets::HoldMoney>(&api, "HoldMoney");
    check::<crate::wallets::CaptureMoney>(&api, "CaptureMoney");
    check::<crate::wallets::ReleaseMoney>(&api, "ReleaseMoney");
    check::<crate::wallets::RefundWallet>(&api, "RefundWallet");
    check::<crate::program::ConfigureProgram>(&api, "ConfigureProgram");
}

#[test]
fn every_reference_of_the_description_leads_somewhere() {
    let api = serde_json::to_value(crate::openapi()).unwrap();
    let text = api.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(api["components"]["schemas"].get(name).is_some(), "{name} is not described");
    }
}
