//! From the relay's settings to what shards use: public keys parsed, certificates with remote keys, one TLS configuration.

use std::sync::Arc;

use protocol::{
    client::token::Keys,
    shard::Policy,
    tls::{self, Certificates, ServerOptions, certificate::Remote},
};
use rustls::server::ProducesTickets;
use wire::settings::{Settings, Tokens};

use crate::{config::Tls, flights::Elsewhere};

/// What outlives a reload: resumption goes on.
pub(crate) struct Maker {
    tickets: Option<Arc<dyn ProducesTickets>>,
    options: Tls,
    needs_tls: bool,
}

impl Maker {
    pub(crate) fn new(options: &Tls, needs_tls: bool) -> anyhow::Result<Self> {
        let tickets = if options.resumption { Some(tls::tickets()?) } else { None };
        Ok(Self { tickets, options: options.clone(), needs_tls })
    }

    /// The error says which of the relay's settings cannot be used.
    pub(crate) fn make(&self, settings: Settings) -> anyhow::Result<Arc<Policy>> {
        let keys = |tokens: &Tokens| {
            Keys::new(tokens)
                .map_err(|error| anyhow::anyhow!("the relay's public keys cannot be used: {error}"))
        };
        let subscription_keys = settings.subscription_tokens.as_ref().map(keys).transpose()?;
        let keys = keys(&settings.tokens)?;
        let tls = if settings.certificates.is_empty() {
            if self.needs_tls {
                anyhow::bail!(
                    "a listener speaks TLS but the relay has no certificate: add [[tls.certificates]] to the relay's configuration, or set `tls = false` on the listener"
                );
            }
            None
        } else {
            let remote: Arc<dyn Remote> = Arc::new(Elsewhere);
            let certificates = Certificates::remote(&settings.certificates, &remote)?;
            let options = ServerOptions {
                tls12: self.options.tls12,
                post_quantum: self.options.post_quantum,
                tickets: self.tickets.clone(),
            };
            Some(tls::server_config(&options, Arc::new(certificates))?)
        };
        Ok(Arc::new(Policy { settings, keys, subscription_keys, tls }))
    }
}
