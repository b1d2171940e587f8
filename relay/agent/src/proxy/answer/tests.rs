//! What answers of backends decide, as bodies of HTTP responses.

use super::*;

fn decide(method: Method, body: &str) -> Option<Decision> {
    Said::json(body.as_bytes())?.decide(method, "chat:1")
}

fn outcome(method: Method, body: &str) -> Outcome {
    match decide(method, body) {
        Some(Decision::Outcome(outcome)) => outcome,
        other => panic!("{body}: {other:?}"),
    }
}

fn given(method: Method, body: &str) -> Given {
    match outcome(method, body) {
        Outcome::Granted(given) => *given,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn a_connect_is_granted_with_all_that_the_answer_has() {
    let body = r#"{"result": {
        "user": "ann", "expire_at": 5, "info": {"name": "A"}, "b64data": "WzFd", "meta": {"plan": 1}, "unknown": [],
        "channels": ["b", "a"],
        "subs": {"a": {"data": 1, "override": {"presence": {"value": true}, "force_recovery": {}}}}
    }, "error": null}"#;
    let Given { claims, data } = given(Method::Connect, body);
    assert_eq!(
        (claims.user.as_str(), claims.expire_at, &claims.info[..]),
        ("ann", 5, &b"{\"name\": \"A\"}"[..])
    );
    assert_eq!((&claims.meta[..], &data[..]), (&b"{\"plan\": 1}"[..], &b"[1]"[..]));
    let names: Vec<&str> = claims.subs.iter().map(|sub| sub.channel.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let overrides = claims.subs[0].overrides;
    assert_eq!((overrides.presence, overrides.force_recovery), (Some(true), Some(false)));
    assert_eq!(claims.subs[0].data, b"1");
}

#[test]
fn no_result_means_what_it_means_in_the_ecosystem() {
    assert_eq!(outcome(Method::Connect, "{}"), Outcome::Nothing);
    assert_eq!(outcome(Method::Refresh, "{}"), Outcome::Expired);
    assert_eq!(outcome(Method::SubRefresh, r#"{"result":{"expired":true}}"#), Outcome::Expired);
    assert_eq!(given(Method::Subscribe, "{}").claims.subs[0].channel, "chat:1");
    assert_eq!(outcome(Method::Call, "{}"), Outcome::Returned(Vec::new()));
    assert_eq!(decide(Method::Publish, "{}"), Some(Decision::Publish(Box::default())));
}

#[test]
fn errors_and_disconnects_are_passed_on() {
    let error = r#"{"error":{"code":1000,"message":"no","temporary":true}}"#;
    let refusal = Refusal { code: 1000, message: "no".to_owned(), temporary: true };
    assert_eq!(outcome(Method::Call, error), Outcome::Refused(refusal));
    let reason = "ä".repeat(100);
    let body = format!(r#"{{"disconnect":{{"code":4500,"reason":"{reason}"}},"error":{{"code":1}}}}"#);
    let Outcome::Disconnect { code: 4500, reason } = outcome(Method::Publish, &body) else {
        panic!("{body}")
    };
    assert_eq!(reason.len(), 122, "whole characters that fit a close frame");
}

#[test]
fn a_publication_is_changed_as_the_answer_says() {
    let body = r#"{"result":{"data":{"a":2},"skip_history":true,"tags":{"t":"1"},"idempotency_key":"k","delta":true}}"#;
    let Some(Decision::Publish(changes)) = decide(Method::Publish, body) else { panic!("{body}") };
    assert_eq!((&changes.data[..], changes.key.as_str()), (&b"{\"a\":2}"[..], "k"));
    assert!(changes.skip_history && changes.delta);
    assert_eq!(changes.tags.unwrap().as_tags().get("t"), Some("1"));
}

#[test]
fn nonsense_is_no_answer() {
    for body in
        ["", "null x", "[]", "<html>", r#"{"result":7}"#, r#"{"error":"no"}"#, r#"{"result":{"user":1}}"#]
    {
        assert_eq!(decide(Method::Connect, body), None, "{body}");
    }
    let meta = format!(r#"{{"result":{{"meta":"{}"}}}}"#, "m".repeat(META_BYTES_MAX));
    for body in [
        r#"{"disconnect":{"code":1000}}"#,
        r#"{"disconnect":{"code":70000}}"#,
        r#"{"error":{"message":"no code"}}"#,
        r#"{"result":{"b64info":"!"}}"#,
        r#"{"result":{"b64info":"/w=="}}"#,
        &meta,
    ] {
        assert_eq!(decide(Method::Connect, body), None, "{body}");
    }
}
