//! Which backends decide on what clients do, named as in the ecosystem: one list of options for every backend, and who is asked for what.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use wire::channel::Boundaries;
use wire::config::{Data, Field, Places, Problem, Reader, Shape, Value};
use wire::config_table;
use wire::limits::PASSED_HEADERS_MAX;
use wire::settings::Backend;

use super::Config;
use crate::limits::PROXIES_MAX;
use crate::proxy::{Endpoint, Options, Proxies};

/// The name that stands for the event's own backend.
pub(super) const DEFAULT: &str = "default";

macro_rules! proxy_table {
    ($($(#[doc = $doc:literal])* $name:ident { $($first:tt)* })*) => {$(
        config_table! {
            $(#[doc = $doc])*
            pub struct $name {
                $($first)*
                /// Where it is, on the private side: an http, https, grpc or grpcs URL such as "http://10.0.0.7:3000/connect".
                endpoint: String = String::new(),
                /// How long it may take, all tries together.
                timeout: Duration = Duration::from_secs(1),
                /// Tell it payloads as b64data, whatever they are. Without it: as data if they are JSON.
                binary_encoding: bool = false,
                /// Tell it the meta that the connection was given. Never in connect, whose answer gives it.
                include_connection_meta: bool = false,
                /// PEM file with the authorities that sign the endpoint's certificate. Without it: those of the system.
                tls_root_ca_file: Option<PathBuf> = None,
                /// What is added to requests.
                http: HttpOptions = HttpOptions::default(),
            }
        }

        impl $name {
            fn options(&self) -> Options {
                Options {
                    endpoint: self.endpoint.clone(),
                    timeout: self.timeout,
                    binary: self.binary_encoding,
                    meta: self.include_connection_meta,
                    root_ca: self.tls_root_ca_file.clone(),
                    headers: self.http.static_headers.0.clone(),
                }
            }
        }
    )*};
}

config_table! {
    /// `[....http]` of a backend.
    pub struct HttpOptions {
        /// Fields of every request to it, such as { "X-Key" = "secret" }. With gRPC: metadata.
        static_headers: Headers = Headers::default(),
    }
}

config_table! {
    /// `[client.proxy]`.
    pub struct ClientProxies {
        /// Asked when a client connects without a token.
        connect: ConnectProxy = ConnectProxy::default(),
        /// Asked when a connection's time is over. Clients are not told when that is, and refresh no tokens.
        refresh: RefreshProxy = RefreshProxy::default(),
    }
}

proxy_table! {
    /// `[client.proxy.connect]`.
    ConnectProxy {
        /// Ask it.
        enabled: bool = false,
        /// Fields of the client's own HTTP request that it is told: ["Cookie", "Authorization"]. The client can send anything.
        http_headers: Vec<String> = Vec::new(),
    }
    /// `[client.proxy.refresh]`.
    RefreshProxy {
        /// Ask it.
        enabled: bool = false,
    }
    /// `[channel.proxy.subscribe]` and others of its kind.
    Proxy {}
    /// `[[proxies]]`.
    NamedProxy {
        /// What namespaces call it.
        name: String = String::new(),
    }
}

config_table! {
    /// `[channel.proxy]`.
    pub struct ChannelProxies {
        /// Asked when a client subscribes without a token.
        subscribe: Proxy = Proxy::default(),
        /// Asked when a client publishes.
        publish: Proxy = Proxy::default(),
        /// Asked when a subscription's time is over.
        sub_refresh: Proxy = Proxy::default(),
    }
}

impl ChannelProxies {
    /// What they are asked about.
    pub const EVENTS: [&str; 3] = ["subscribe", "publish", "sub_refresh"];
}

config_table! {
    /// `[rpc]`.
    pub struct Rpc {
        /// The backend that answers calls where a namespace names no other.
        proxy: Proxy = Proxy::default(),
        /// What ends the namespace in the name of a call. Empty: there are no namespaces.
        namespace_boundary: String = ":".to_owned(),
        /// Calls without a namespace.
        without_namespace: RpcWithoutNamespace = RpcWithoutNamespace::default(),
        /// Calls named "name:...": one table for each name.
        namespaces: Vec<RpcNamespace> = Vec::new(),
    }
}

config_table! {
    /// `[rpc.without_namespace]`.
    pub struct RpcWithoutNamespace {
        /// A backend answers them.
        proxy_enabled: bool = false,
        /// Which: one of proxies by its name, or "default": that of rpc.proxy.
        proxy_name: String = DEFAULT.to_owned(),
    }
}

config_table! {
    /// `[[rpc.namespaces]]`.
    pub struct RpcNamespace {
        /// The part of a call's name before the boundary.
        name: String = String::new(),
        /// A backend answers them.
        proxy_enabled: bool = false,
        /// Which: one of proxies by its name, or "default": that of rpc.proxy.
        proxy_name: String = DEFAULT.to_owned(),
    }
}

/// Fields of a request by name. Their values may be secret: they are never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Fields that a request has by itself.
const OWN_HEADERS: [&str; 6] =
    ["connection", "content-length", "content-type", "host", "te", "transfer-encoding"];

impl Field for Headers {
    fn shape() -> Shape {
        Shape::Bare("a table of texts such as { \"X-Key\" = \"secret\" }".to_owned())
    }

    fn blank() -> Self {
        Self::default()
    }

    fn read(&mut self, reader: &mut Reader, value: &Value) {
        let Data::Table(entries) = &value.data else {
            return reader.expected(value, &Self::shape().allowed());
        };
        self.0.clear();
        for (name, entry) in entries {
            let known = HeaderName::from_bytes(name.as_bytes()).ok();
            match (known, &entry.data) {
                (Some(name), _) if OWN_HEADERS.contains(&name.as_str()) => {
                    reader.refuse(entry, &format!("{name} is the request's own"));
                }
                (Some(name), Data::Text(text)) if HeaderValue::from_str(text).is_ok() => {
                    self.0.insert(name.as_str().to_owned(), text.clone());
                }
                (Some(name), Data::Text(_)) => {
                    reader.refuse(entry, &format!("{name} has a value that is none"));
                }
                (Some(_), _) => reader.expected(entry, "a text"),
                (None, _) => reader.refuse(entry, &format!("{name:?} is no name of a field")),
            }
        }
    }

    fn show(&self) -> Option<String> {
        Some("{}".to_owned())
    }
}

/// Reads who is asked for what: for gateways, and the backends themselves.
pub(super) fn checked(
    config: &Config,
    boundaries: &Boundaries,
    places: &Places,
    problems: &mut Vec<Problem>,
) -> (Backend, Proxies) {
    let mut wanted = Wanted {
        config,
        places,
        problems,
        proxies: Proxies::new(boundaries.clone()),
        named: BTreeMap::new(),
    };
    let headers = wanted.client();
    wanted.names();
    let without = (config.channel.without_namespace.proxies(), "", "channel.without_namespace".to_owned());
    let others = config.channel.namespaces.iter().enumerate();
    let others =
        others.map(|(index, one)| (one.proxies(), one.name.as_str(), format!("channel.namespaces[{index}]")));
    for (names, namespace, path) in std::iter::once(without).chain(others) {
        for (event, name) in names.into_iter().enumerate() {
            if let Some(name) = name {
                wanted.channel(event, name, namespace, &path);
            }
        }
    }
    wanted.calls();
    let mut proxies = wanted.proxies;
    let decided = |rights: super::Deciding| rights.0 == super::Rights::Node;
    proxies.by_node.extend(decided(config.channel.without_namespace.rights).then(String::new));
    let named = config.channel.namespaces.iter().filter(|namespace| decided(namespace.rights));
    proxies.by_node.extend(named.map(|namespace| namespace.name.clone()));
    let meta = proxies.all().any(|endpoint| endpoint.options().meta);
    let (connect, refresh) = (config.client.proxy.connect.enabled, config.client.proxy.refresh.enabled);
    let (calls, channels) = (proxies.answers_calls(), config.node.subscribe_on_connect);
    (Backend { connect, headers, refresh, calls, meta, channels }, proxies)
}

/// The way through the configuration.
struct Wanted<'a> {
    config: &'a Config,
    places: &'a Places,
    problems: &'a mut Vec<Problem>,
    proxies: Proxies,
    /// Where each name of [`Config::proxies`] is.
    named: BTreeMap<&'a str, usize>,
}

impl<'a> Wanted<'a> {
    fn problem(&mut self, path: &str, text: &str) {
        self.problems.push(self.places.problem(path, text));
    }

    /// Adds a backend that is wanted, once. `None`, and said so: it is not as it should be.
    fn endpoint(&mut self, name: &str, options: Options, path: &str) -> Option<usize> {
        if let Some(known) = self.proxies.find(name) {
            return Some(known);
        }
        match Endpoint::new(name, options) {
            Ok(endpoint) => Some(self.proxies.add(endpoint)),
            Err((key, text)) => {
                let problem = self.places.problem(&format!("{path}.{key}"), &text);
                // Several may want it, but it is wrong once.
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
                None
            }
        }
    }

    /// Those of connections; the fields of their requests that are handed over.
    fn client(&mut self) -> Vec<String> {
        let proxies = &self.config.client.proxy;
        if proxies.connect.enabled {
            self.proxies.connect =
                self.endpoint("connect", proxies.connect.options(), "client.proxy.connect");
        }
        if proxies.refresh.enabled {
            self.proxies.refresh =
                self.endpoint("refresh", proxies.refresh.options(), "client.proxy.refresh");
        }
        let path = "client.proxy.connect.http_headers";
        let names = &proxies.connect.http_headers;
        if names.len() > PASSED_HEADERS_MAX {
            self.problem(path, &format!("names {} fields, at most {PASSED_HEADERS_MAX}", names.len()));
        }
        let mut headers = Vec::new();
        for name in names {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) if OWN_HEADERS.contains(&name.as_str()) => {
                    self.problem(path, &format!("{name} is the request's own"));
                }
                Ok(name) => headers.push(name.as_str().to_owned()),
                Err(_) => self.problem(path, &format!("{name:?} is no name of a field")),
            }
        }
        headers
    }

    fn names(&mut self) {
        let config = self.config;
        if config.proxies.len() > PROXIES_MAX {
            let text = format!("has {} tables, at most {PROXIES_MAX} are allowed", config.proxies.len());
            self.problem("proxies", &text);
        }
        let taken = ["connect", "refresh", "rpc", DEFAULT].into_iter().chain(ChannelProxies::EVENTS);
        let taken: Vec<&str> = taken.collect();
        for (index, proxy) in config.proxies.iter().enumerate() {
            let path = format!("proxies[{index}].name");
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if proxy.name.is_empty() {
                self.problem(&path, "is missing");
            } else if !proxy.name.bytes().all(letter) {
                let text = format!("found {:?}, expected letters, digits, '-', '_' and '.'", proxy.name);
                self.problem(&path, &text);
            } else if taken.contains(&proxy.name.as_str()) || self.named.contains_key(proxy.name.as_str()) {
                self.problem(&path, &format!("{:?} is already the name of another one", proxy.name));
            } else {
                self.named.insert(&proxy.name, index);
            }
        }
    }

    /// The backend of a name: `own` stands for the default, with its label and its place.
    fn choose(
        &mut self,
        name: &str,
        own: (&str, &'a Proxy, &str),
        (path, key): (&str, &str),
    ) -> Option<usize> {
        let config = self.config;
        if name == DEFAULT {
            return self.endpoint(own.0, own.1.options(), own.2);
        }
        if let Some(index) = self.named.get(name).copied() {
            return self.endpoint(name, config.proxies[index].options(), &format!("proxies[{index}]"));
        }
        self.problem(&format!("{path}.{key}"), &format!("{name:?} is not the name of one of proxies"));
        None
    }

    fn channel(&mut self, event: usize, name: &str, namespace: &str, path: &str) {
        let proxies = &self.config.channel.proxy;
        let own = [&proxies.subscribe, &proxies.publish, &proxies.sub_refresh][event];
        let label = ChannelProxies::EVENTS[event];
        let (place, key) = (format!("channel.proxy.{label}"), format!("{label}_proxy_name"));
        if let Some(found) = self.choose(name, (label, own, &place), (path, &key)) {
            self.proxies.channels[event].insert(namespace.to_owned(), found);
        }
    }

    fn calls(&mut self) {
        let rpc = &self.config.rpc;
        let own = ("rpc", &rpc.proxy, "rpc.proxy");
        let without = &rpc.without_namespace;
        self.proxies.calls.boundary.clone_from(&rpc.namespace_boundary);
        if without.proxy_enabled {
            let at = ("rpc.without_namespace", "proxy_name");
            self.proxies.calls.without_namespace = self.choose(&without.proxy_name, own, at);
        }
        if rpc.namespaces.len() > PROXIES_MAX {
            let text = format!("has {} tables, at most {PROXIES_MAX} are allowed", rpc.namespaces.len());
            self.problem("rpc.namespaces", &text);
        }
        for (index, namespace) in rpc.namespaces.iter().enumerate() {
            let path = format!("rpc.namespaces[{index}]");
            if namespace.name.is_empty() {
                self.problem(&format!("{path}.name"), "is missing");
            } else if self.proxies.calls.namespaces.contains_key(&namespace.name) {
                let text = format!("{:?} is already the name of another namespace", namespace.name);
                self.problem(&format!("{path}.name"), &text);
            }
            let enabled = namespace.proxy_enabled;
            let chosen =
                enabled.then(|| self.choose(&namespace.proxy_name, own, (&path, "proxy_name"))).flatten();
            self.proxies.calls.namespaces.insert(namespace.name.clone(), chosen);
        }
    }
}
