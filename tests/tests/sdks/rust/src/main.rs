//! The community's Rust SDK, unmodified, against a real edge, one scenario per run: `sdk SCENARIO json|protobuf`.
#![forbid(unsafe_code)]

use std::{env::var, error::Error, process::ExitCode, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};
use tokio_centrifuge::{
    client::{Client, RequestError},
    config::Config,
    subscription::Subscription,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const WITHIN: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> ExitCode {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    let outcome = match scenario.as_str() {
        "chats" => chats().await,
        "errors_are_the_protocols_own" => refused().await,
        other => Err(format!("no scenario {other}").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// A connected client of the user whose token is in that variable.
async fn connected(user: &str) -> Outcome<Client> {
    let (url, config) = (var("HEADLAND_URL")?, Config::new().with_token(var(user)?));
    let client = if std::env::args().nth(2).as_deref() == Some("protobuf") {
        Client::new(&format!("{url}?format=protobuf"), config.use_protobuf())
    } else {
        Client::new(&url, config.use_json())
    };
    timeout(WITHIN, client.connect()).await?.map_err(|()| "no connection")?;
    Ok(client)
}

/// A subscription, and the payloads and offsets it hears.
async fn subscribed(
    client: &Client,
    channel: &str,
) -> Outcome<(Subscription, UnboundedReceiver<(Vec<u8>, u64)>)> {
    let room = client.new_subscription(channel);
    let (heard, publications) = unbounded_channel();
    room.on_publication(move |publication| {
        let _ = heard.send((publication.data, publication.offset));
    });
    timeout(WITHIN, room.subscribe()).await?.map_err(|()| "no subscription")?;
    Ok((room, publications))
}

async fn chats() -> Outcome {
    let (ann, bob) = (connected("ANN").await?, connected("BOB").await?);
    let (_hers, mut heard) = subscribed(&ann, "chat:rust").await?;
    let (his, _) = subscribed(&bob, "chat:rust").await?;
    for number in 1..=50_u64 {
        his.publish(number.to_string().into_bytes()).await?;
    }
    for number in 1..=50_u64 {
        let (data, offset) = timeout(WITHIN, heard.recv()).await?.ok_or("the end")?;
        if (data, offset) != (number.to_string().into_bytes(), number) {
            return Err(format!("wanted {number}, heard something else at {offset}").into());
        }
    }
    Ok(())
}

async fn refused() -> Outcome {
    let ann = connected("ANN").await?;
    match ann.rpc("anything", b"{}".to_vec()).await {
        Err(RequestError::ErrorResponse(error)) if error.code == 108 => {}
        other => return Err(format!("wanted the error 108, got {other:?}").into()),
    }
    match ann.publish("closed:room", b"{}".to_vec()).await {
        Err(RequestError::ErrorResponse(error)) if error.code == 103 => Ok(()),
        other => Err(format!("wanted the error 103, got {other:?}").into()),
    }
}
