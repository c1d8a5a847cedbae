//! What can be exchanged while the server runs: users, rules, certificates, limits.

use std::sync::{Arc, PoisonError, RwLock};

use orlop_core::Registry;
use orlop_core::caller::Right;
use orlop_core::record::SessionKey;

use crate::auth::identity::{Identities, Identity};
use crate::auth::rules::Rules;
use crate::observe::webhooks::{Subscriptions, Webhook};
use crate::request::base::Locations;
use crate::request::cors::Cors;
use crate::request::proxies::Proxies;
use crate::request::shares::Shares;
use crate::settings::{Redirects, Settings};
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
        let identities = self.identities.again(&settings.auth)?;
        let can_be_known = identities.can_ask() || settings.tls.client_ca.is_some();
        let rules = Rules::new(&settings.auth.rules, &settings.auth.groups, can_be_known)?;
        let unknown = rules.named_users().filter(|user| !identities.may_be(user));
        let odd = unknown.map(|user| format!("a rule or group names the user `{user}`, who is in no password file"));
        let odd = odd.collect();
        let live = Self {
            registry: Registry::new(settings.config()),
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
        };
        Ok((live, odd))
    }

    /// The same, with the key by which tokens of our own are signed. It is kept over reloads.
    ///
    /// # Errors
    ///
    /// As for new settings.
    pub fn signing_with(self, key: SessionKey) -> Result<Self, String> {
        Ok(Self { identities: self.identities.signing_with(key)?, ..self })
    }

    /// Anybody may do everything: what there is without settings.
    pub fn open(registry: Registry) -> Self {
        Self {
            registry,
            identities: Identities::nobody(),
            rules: Rules::new(&[], &[], false).unwrap_or_default(),
            shares: Shares::new(&[]),
            proxies: Proxies::default(),
            webhooks: Vec::new(),
            syncs: Vec::new(),
            read_only: false,
            cors: Cors::default(),
            locations: Locations::default(),
            redirects: Redirects::default(),
        }
    }

    /// Whether somebody of whom nothing is known may write.
    pub fn lets_anybody_write(&self) -> bool {
        let rights = self.rules.rights(&Identity::anonymous());
        [Right::Upload, Right::Delete].into_iter().any(|right| rights.may_somewhere(right))
    }

    /// Whether clients send secrets.
    pub fn takes_secrets(&self) -> bool {
        self.identities.can_ask()
    }
}

impl Current {
    /// These settings, until there are others. Files that they name are looked at from now on.
    pub fn new(live: Live) -> Self {
        live.identities.watch();
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
        live.identities.watch();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }
}
