//! What can be exchanged while the server runs: users, rules, certificates, limits.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use orlop_core::Registry;
use orlop_core::caller::Right;
use orlop_core::record::SessionKey;
use ring::hmac;

use crate::auth::identity::{Identities, Identity};
use crate::auth::rules::Rules;
use crate::observe::webhooks::{Subscriptions, Webhook};
use crate::request::administer::kept::usage::Last;
use crate::request::base::Locations;
use crate::request::cors::Cors;
use crate::request::proxies::Proxies;
use crate::request::roots::Roots;
use crate::request::shares::Shares;
use crate::settings::mirror::Prefetch;
use crate::settings::{MirrorSetting, Redirects, Settings, Who, mirror};
use crate::storage::{Host, Upstreams};
use crate::sync::{InForce, Sync};

/// The part of the settings that a running server can change.
pub struct Live {
    pub(crate) registry: Registry,
    pub(crate) identities: Identities,
    pub(crate) rules: Rules,
    pub(crate) shares: Shares,
    pub(crate) proxies: Proxies,
    pub(crate) webhooks: Vec<Arc<Webhook>>,
    pub(crate) syncs: Vec<Arc<Sync>>,
    pub(crate) read_only: bool,
    pub(crate) cors: Cors,
    pub(crate) locations: Locations,
    pub(crate) redirects: Redirects,
    pub(crate) roots: Roots,
    pub(crate) upstreams: Arc<Upstreams>,
    /// The last report of what repositories take.
    pub(crate) usage: Last,
    /// Who administers the registry.
    administrators: Vec<Who>,
    /// Where each rule stands, and how it is written, as far as that is known.
    pub(crate) rules_at: Vec<(String, String)>,
    /// How often retention runs; zero for never.
    pub(crate) retention_interval: Duration,
    /// Whether the playground is there.
    pub(crate) playground: bool,
    /// What the registry is called in `Via`, once that is known.
    via: Option<String>,
}

/// The settings in force.
#[derive(Clone)]
pub struct Current(Arc<RwLock<Arc<Live>>>);

impl Live {
    /// As the settings have it, and what is odd about them: what an administrator should know, though it stops nothing.
    ///
    /// # Errors
    ///
    /// When a file that is named cannot be read, or settings do not go together.
    pub fn new(settings: &Settings) -> Result<(Self, Vec<String>), String> {
        Self::open(Registry::new(settings.config())).again(settings)
    }

    /// As other settings have it. What is counted and remembered of clients goes on, as far as the settings that it
    /// depends on are the same.
    ///
    /// # Errors
    ///
    /// As for new settings.
    pub fn again(&self, settings: &Settings) -> Result<(Self, Vec<String>), String> {
        let registry = Registry::new(settings.config()).called(self.via.as_deref());
        let identities = self.identities.again(&settings.auth, &registry)?;
        let can_be_known = identities.can_ask() || settings.tls.client_ca.is_some();
        let rules = Rules::new(&settings.auth, can_be_known)?;
        let unknown = rules.named_users().filter(|user| !identities.may_be(user));
        let odd = unknown.map(|user| format!("a rule or group names the user `{user}`, who is in no password file"));
        let odd = odd.collect();
        let upstreams = Upstreams::open(mirror::upstreams(&settings.mirrors)?, &self.upstreams)?;
        let live = Self {
            registry,
            identities,
            rules,
            shares: self.shares.again(&settings.shares.limit),
            proxies: Proxies(settings.shares.trusted_proxy.clone()),
            webhooks: Webhook::all(&settings.watch.webhook)?,
            syncs: Sync::all(&settings.syncs.sync, &settings.config())?,
            read_only: settings.shares.read_only,
            cors: Cors(settings.reach.cors.clone()),
            locations: Locations { form: settings.reach.location(), external: settings.reach.external_url.clone() },
            redirects: settings.reach.redirects(),
            roots: Roots(settings.mirrors.clone()),
            upstreams: Arc::new(upstreams),
            usage: Last::default(),
            administrators: settings.signing_in.administrators.clone(),
            rules_at: Vec::new(),
            retention_interval: settings.retention.retention_interval,
            playground: !settings.no_playground,
            via: self.via.clone(),
        };
        Ok((live, odd))
    }

    /// The same, with the records and the key by which tokens of our own are signed. They are kept over reloads, and so is
    /// what the registry is called in `Via`: that is made of the key, for all servers of a storage have it and no other registry has.
    ///
    /// # Errors
    ///
    /// As for new settings.
    pub fn keeping(self, host: Arc<Host>, key: SessionKey) -> Result<Self, String> {
        let via = called(&key);
        let registry = self.registry.called(Some(&via));
        let identities = self.identities.keeping(host, registry.clone(), key)?;
        Ok(Self { registry, via: Some(via), identities, ..self })
    }

    /// Anybody may do everything: what there is without settings.
    pub fn open(registry: Registry) -> Self {
        Self {
            registry,
            identities: Identities::nobody(),
            rules: Rules::open(),
            shares: Shares::new(&[]),
            proxies: Proxies::default(),
            webhooks: Vec::new(),
            syncs: Vec::new(),
            read_only: false,
            cors: Cors::default(),
            locations: Locations::default(),
            redirects: Redirects::default(),
            roots: Roots::default(),
            upstreams: Arc::default(),
            usage: Last::default(),
            administrators: Vec::new(),
            rules_at: Vec::new(),
            retention_interval: Duration::ZERO,
            playground: false,
            via: None,
        }
    }

    /// The same, whose rules stand there and are written so, one after the other: for administrators who ask.
    pub fn with_rules_at(self, rules_at: Vec<(String, String)>) -> Self {
        Self { rules_at, ..self }
    }

    /// Who administers the registry.
    pub(crate) fn administrators(&self) -> &[Who] {
        &self.administrators
    }

    /// Whether somebody administers the registry.
    pub(crate) fn is_administrator(&self, identity: &Identity) -> bool {
        self.rules.is_one_of(&self.administrators, identity)
    }

    /// Whether somebody of whom nothing is known may write.
    pub fn lets_anybody_write(&self) -> bool {
        let rights = self.rules.rights(&Identity::anonymous());
        [Right::Upload, Right::Delete].into_iter().any(|right| rights.may_somewhere(right))
    }

    /// Goes on looking at the files that are named.
    fn watch(&self) {
        self.identities.watch();
        self.upstreams.watch();
        self.syncs.iter().for_each(|sync| sync.watch());
    }

    /// Whether clients send secrets.
    pub fn takes_secrets(&self) -> bool {
        self.identities.can_ask()
    }
}

/// What the registry of a storage is called that has this key, which the name tells nothing of.
fn called(key: &SessionKey) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.bytes());
    let signed = hmac::sign(&key, b"via");
    let (first, _) = signed.as_ref().split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    format!("orlop-{:016x}", u64::from_be_bytes(*first))
}

impl Current {
    /// These settings, until there are others. Files that they name are looked at from now on.
    pub fn new(live: Live) -> Self {
        live.watch();
        Self(Arc::new(RwLock::new(Arc::new(live))))
    }

    /// The settings in force now.
    pub(crate) fn get(&self) -> Arc<Live> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The registry that is in force now.
    pub(crate) fn registry(&self) -> Registry {
        self.get().registry.clone()
    }

    /// The registry and the upstreams that are in force now.
    pub(crate) fn mirrors(&self) -> (Registry, Arc<Upstreams>) {
        let live = self.get();
        (live.registry.clone(), live.upstreams.clone())
    }

    /// What mirrors are to fetch regularly now.
    pub(crate) fn prefetches(&self) -> Vec<Prefetch> {
        self.get().roots.0.iter().flat_map(MirrorSetting::prefetches).collect()
    }

    /// The registry and the webhooks that are in force now.
    pub(crate) fn subscriptions(&self) -> Subscriptions {
        let live = self.get();
        Subscriptions { registry: live.registry.clone(), webhooks: live.webhooks.clone() }
    }

    /// The registry and the syncs that are in force now.
    pub(crate) fn syncs(&self) -> InForce {
        let live = self.get();
        InForce { registry: live.registry.clone(), syncs: live.syncs.clone() }
    }

    /// Puts others in force. Requests that are being answered go on with those they began with.
    pub fn set(&self, live: Live) {
        live.watch();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }
}
