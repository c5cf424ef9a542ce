//! What deploys the server: the Compose file and the Kubernetes manifests are what their types
//! say, and all that they name is there. No engine is needed; where one is installed, it has the
//! last word.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use accrue_tests::database::Database;
use accrue_tests::program::{self, workspace};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

/// What a whole server does, a role a service.
const ROLES: [&str; 6] = ["api", "projections", "saga", "campaigns", "relay", "timers"];

/// Every path of a value, such as `.services.api.build`.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, it)| (name.clone(), it)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, it)| (at.to_string(), it)).collect()
        }
        _ => return,
    };
    for (name, value) in inner {
        let path = format!("{at}.{name}");
        paths(value, &path, found);
        found.push(path);
    }
}

/// The value as its type has it; nothing of it may be unknown to the type.
fn typed<T: DeserializeOwned + Serialize>(plain: &Value) -> T {
    let typed: T = serde_json::from_value(plain.clone()).unwrap_or_else(|e| panic!("{e}: {plain}"));
    let again = serde_json::to_value(&typed).expect("it can be written");
    let (mut before, mut after) = (Vec::new(), Vec::new());
    paths(plain, "", &mut before);
    paths(&again, "", &mut after);
    for path in before {
        assert!(after.contains(&path), "{path} is nothing that this has: {plain}");
    }
    typed
}

fn file(path: &str) -> String {
    let path = workspace().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is_installed(words: &[&str]) -> bool {
    let version = Command::new(words[0]).args(&words[1..]).output();
    version.is_ok_and(|it| it.status.success())
}

#[test]
fn the_compose_file_is_one_and_all_that_it_names_is_there() {
    let text = file("docker-compose.yml");
    let typed: docker_compose_types::Compose = serde_norway::from_str(&text).expect("typed");
    let plain: Value = serde_norway::from_str(&text).expect("YAML");
    // A key that the types do not know is lost on the way.
    let again = serde_json::to_value(&typed).expect("it can be written");
    let names = |value: &Value| {
        let mut found = Vec::new();
        paths(value, "", &mut found);
        // A list of words may be written as one text, and the other way round.
        found.retain(|path| path.rsplit('.').next().is_none_or(|it| it.parse::<u8>().is_err()));
        found
    };
    let after = names(&again);
    for path in names(&plain) {
        assert!(after.contains(&path), "{path} is nothing that a Compose file has");
    }
    let services = plain["services"].as_object().expect("services");
    assert!(ROLES.iter().all(|role| services.contains_key(*role)), "{services:?}");
    for (name, service) in services {
        assert!(service["image"].is_string() ^ service["build"].is_string(), "{service}");
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let other = services.get(other).unwrap_or_else(|| panic!("{name} waits for {other}"));
            match how["condition"].as_str() {
                Some("service_healthy") => assert!(other["healthcheck"].is_object(), "{name}"),
                Some("service_completed_successfully") => assert!(other["restart"].is_null()),
                condition => panic!("{name}: {condition:?}"),
            }
        }
        for mount in list(&service["volumes"]) {
            let volume = mount.split(':').next().expect("a mount");
            assert!(plain["volumes"].get(volume).is_some(), "{volume}");
        }
        for network in list(&service["networks"]) {
            assert!(plain["networks"].get(&network).is_some(), "{network}");
        }
        assert!(service["container_name"].is_null(), "{name} could not be scaled");
    }
    for role in ROLES {
        let service = &services[role];
        assert_eq!(list(&service["command"]), ["serve", &format!("--roles={role}")]);
        assert!(service["healthcheck"].is_object() && service["restart"].is_string(), "{role}");
        let first = &service["depends_on"]["migrate"]["condition"];
        assert_eq!(first, "service_completed_successfully", "{role}");
        assert_eq!(service["environment"]["ACCRUE_ALLOW_NETWORK"], "true", "{role}");
        // What the network of others could reach, only on this machine, and with room for many.
        for port in list(&service["ports"]) {
            assert!(role == "api" && port.starts_with("127.0.0.1:"), "{role}: {port}");
            assert!(port.contains("8080}:8080"), "{port}");
        }
    }
    assert!(services["postgres"]["ports"].is_null() && services["kafka"]["ports"].is_null());
    assert!(workspace().join("Dockerfile").exists());

    let compose = [vec!["docker-compose"], vec!["docker", "compose"]];
    let with = |words: &[&'static str], more| [words, &[more]].concat();
    let installed = compose.into_iter().find(|words| is_installed(&with(words, "version")));
    let Some(words) = installed else { return };
    let mut config = Command::new(words[0]);
    config.args(&words[1..]).args(["config", "--quiet"]).current_dir(workspace());
    let output = config.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every document of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(text);
    documents.map(|it| Value::deserialize(it).expect("YAML")).collect()
}

fn kind(document: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&document["kind"]), text(&document["metadata"]["name"]))
}

fn of<T: DeserializeOwned + Serialize>(all: &[Value], kind: &str) -> Vec<T> {
    all.iter().filter(|it| it["kind"] == kind).map(typed).collect()
}

type Labels = BTreeMap<String, String>;

fn selects(selector: Option<&Labels>, labels: &Labels) -> bool {
    let selector = selector.expect("a selector");
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn labels(template: &PodTemplateSpec) -> Labels {
    template.metadata.as_ref().and_then(|it| it.labels.clone()).expect("labels")
}

/// One container, which may do as little as possible and is told no secret.
fn container(pod: &PodSpec, accounts: &[ServiceAccount]) -> Container {
    let account = pod.service_account_name.as_ref();
    assert!(accounts.iter().any(|it| it.metadata.name.as_ref() == account), "{account:?}");
    let security = pod.security_context.as_ref().expect("a security context");
    assert_eq!(security.run_as_non_root, Some(true));
    let [container] = &pod.containers[..] else { panic!("one container, got {pod:?}") };
    assert_eq!(container.image.as_deref(), Some("accrue"));
    let security = container.security_context.as_ref().expect("a security context");
    assert_eq!(security.read_only_root_filesystem, Some(true));
    assert_eq!(security.allow_privilege_escalation, Some(false));
    let resources = container.resources.as_ref().expect("resources");
    let requests = resources.requests.as_ref().expect("requests");
    assert!(requests.contains_key("cpu") && requests.contains_key("memory"));
    assert!(resources.limits.as_ref().is_some_and(|it| it.contains_key("memory")));
    for variable in container.env.iter().flatten() {
        let secret = ["URL", "KEY", "SECRET"].iter().any(|it| variable.name.ends_with(it));
        let from = variable.value_from.as_ref();
        let by_secret = from.is_some_and(|it| it.secret_key_ref.is_some());
        let by_config = from.is_some_and(|it| it.config_map_key_ref.is_some());
        let ways = [by_secret, by_config, variable.value.is_some()];
        assert_eq!(ways.iter().filter(|it| **it).count(), 1, "{}", variable.name);
        assert!(by_secret || !secret, "{} is a secret", variable.name);
    }
    container.clone()
}

#[tokio::test]
async fn the_manifests_are_what_kubernetes_knows_and_all_that_they_name_is_there() {
    let folder = "deploy/kubernetes";
    let kustomization = &documents(&file(&format!("{folder}/kustomization.yaml")))[0];
    let mut all = Vec::new();
    for name in list(&kustomization["resources"]) {
        all.extend(documents(&file(&format!("{folder}/{name}"))));
    }
    let names: BTreeSet<_> = all.iter().map(kind).collect();
    assert_eq!(names.len(), all.len(), "no two are of one name");
    let accounts: Vec<ServiceAccount> = of(&all, "ServiceAccount");
    let deployments: Vec<Deployment> = of(&all, "Deployment");
    let budgets: Vec<PodDisruptionBudget> = of(&all, "PodDisruptionBudget");
    let services: Vec<Service> = of(&all, "Service");
    let jobs: Vec<Job> = of(&all, "Job");
    let policies: Vec<NetworkPolicy> = of(&all, "NetworkPolicy");
    let read = accounts.len() + deployments.len() + budgets.len() + services.len();
    assert_eq!(read + jobs.len() + policies.len(), all.len(), "a kind that nobody checked");

    let database = Database::create().await;
    let mut pods = Vec::new();
    for (deployment, role) in deployments.iter().zip(ROLES) {
        assert_eq!(deployment.metadata.name.as_deref(), Some(&*format!("accrue-{role}")));
        let spec = deployment.spec.as_ref().expect("a spec");
        let labels = labels(&spec.template);
        assert!(selects(spec.selector.match_labels.as_ref(), &labels), "{role}");
        assert_eq!(labels["app.kubernetes.io/component"], role);
        let pod = spec.template.spec.as_ref().expect("a pod");
        // The server drains for 30 s at most.
        assert!(pod.termination_grace_period_seconds.is_some_and(|it| it > 30), "{role}");
        let container = container(pod, &accounts);
        let roles = format!("--roles={role}");
        assert_eq!(container.args, Some(vec!["serve".to_owned(), roles]));
        let path = |probe: Option<&k8s_openapi::api::core::v1::Probe>| {
            probe.and_then(|it| it.http_get.as_ref()).and_then(|it| it.path.clone())
        };
        assert_eq!(path(container.readiness_probe.as_ref()).as_deref(), Some("/readyz"));
        assert_eq!(path(container.liveness_probe.as_ref()).as_deref(), Some("/livez"));
        assert_eq!(path(container.startup_probe.as_ref()).as_deref(), Some("/livez"));
        let bound = |it: &str| container.env.iter().flatten().any(|variable| variable.name == it);
        let follows = ["projections", "campaigns", "saga"].contains(&role);
        assert_eq!(bound("ACCRUE_FEED"), follows, "by the log or by Kafka: {role}");
        assert_eq!(
            bound("ACCRUE_READY_LAG_SECONDS_MAX"),
            follows,
            "readiness includes lag: {role}"
        );
        let of_pod = |it: &&PodDisruptionBudget| {
            let spec = it.spec.as_ref().and_then(|it| it.selector.as_ref());
            selects(spec.and_then(|it| it.match_labels.as_ref()), &labels)
        };
        assert_eq!(budgets.iter().filter(of_pod).count(), 1, "{role}");
        let replicas = spec.replicas.expect("a number");
        assert!(replicas >= 2, "{role}: a budget of one pod would hold up its node");
        settings_are_known(&container, &database).await;
        pods.push(labels);
    }
    assert_eq!((deployments.len(), budgets.len()), (ROLES.len(), ROLES.len()));
    for service in &services {
        let spec = service.spec.as_ref().expect("a spec");
        let selected = pods.iter().filter(|it| selects(spec.selector.as_ref(), it)).count();
        assert_eq!(selected, 1, "{:?}", service.metadata.name);
        assert!(spec.type_.is_none(), "nothing is reached from outside of the cluster");
    }
    let [job] = &jobs[..] else { panic!("one job") };
    let pod = job.spec.as_ref().and_then(|it| it.template.spec.as_ref()).expect("a pod");
    assert_eq!(container(pod, &accounts).args, Some(vec!["migrate".to_owned()]));
    assert_eq!(policies.len(), 2);

    let scaling = documents(&file(&format!("{folder}/autoscaling.yaml")));
    let scaling: Vec<HorizontalPodAutoscaler> = of(&scaling, "HorizontalPodAutoscaler");
    let target = &scaling[0].spec.as_ref().expect("a spec").scale_target_ref;
    assert!(names.contains(&(target.kind.clone(), target.name.clone())), "{target:?}");

    if is_installed(&["kubectl", "version", "--client"]) {
        let mut kubectl = Command::new("kubectl");
        let output = kubectl.args(["kustomize", folder]).current_dir(workspace()).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rendered = documents(&String::from_utf8(output.stdout).expect("UTF-8"));
        assert_eq!(rendered.iter().map(kind).collect::<BTreeSet<_>>(), names);
        let images = rendered.iter().filter(|it| it["kind"] == "Deployment");
        for it in images {
            let image = &it["spec"]["template"]["spec"]["containers"][0]["image"];
            let version = env!("CARGO_PKG_VERSION");
            assert_eq!(image.as_str(), Some(&*format!("accrue:{version}")));
        }
    }
}

/// The program takes what the manifest tells it.
async fn settings_are_known(container: &Container, database: &Database) {
    let mut command = program::command(["config", "show"]);
    command.args(container.args.iter().flatten().skip(1));
    for variable in container.env.iter().flatten() {
        let from = variable.value_from.is_some();
        let made = match variable.name.as_str() {
            "ACCRUE_DATABASE_URL" | "ACCRUE_READ_DATABASE_URL" => database.url.clone(),
            "ACCRUE_PAYMENTS" => "none".to_owned(),
            "ACCRUE_FEED" => "kafka".to_owned(),
            "ACCRUE_KAFKA_BOOTSTRAP" => "kafka:9092".to_owned(),
            _ => "made up".to_owned(),
        };
        let value = if from { Some(made) } else { variable.value.clone() };
        command.env(&variable.name, value.expect("a value"));
    }
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for variable in container.env.iter().flatten() {
        assert!(said.contains(&format!("environment {}", variable.name)), "{}", variable.name);
    }
}

#[tokio::test]
async fn a_database_is_migrated_before_any_server_comes() {
    let database = Database::create().await;
    for _ in 0..2 {
        let said = program::run(["migrate", "--database-url", &database.url]).await;
        said.expect_success();
    }
    assert_eq!(database.number("SELECT position FROM log_head").await, 0);
    database.migrated_by_a_newer_build().await;
    // A roll-back: there is nothing to do.
    program::run(["migrate", "--database-url", &database.url]).await.expect_success();
    database.run("UPDATE schema_support SET oldest = 9999").await;
    let said = program::run(["migrate", "--database-url", &database.url]).await;
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
    assert!(said.err.contains("made by a newer version of accrue"), "{said:?}");
}
