//! What a host keeps of those who sign in.

use alloc::string::String;
use alloc::vec::Vec;

use super::Registry;
use crate::Ambient;
use crate::api_token::{ApiToken, ApiTokenId, ApiTokenPage, ApiTokenRecord, ApiTokenShown, NewApiToken};
use crate::effect::Step;
use crate::error::Error;
use crate::keys::Key;
use crate::sign_in::{NewSignIn, SignIn, SignInHandle};
use crate::step::start;

impl Registry {
    /// Begins a session of the web page, and says at which of the user's places it is.
    pub fn sign_in(&self, new: NewSignIn, ambient: Ambient) -> Step<Result<u8, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).sign_in(&new).await })
    }

    /// Begins to find the session that a browser shows; nothing when there is none, or it has ended. It reads one record and
    /// writes nothing.
    pub fn signed_in(&self, handle: SignInHandle, ambient: Ambient) -> Step<Result<Option<SignIn>, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).signed_in(&handle).await })
    }

    /// Begins to write down that a session is used, which is done a few times at most in the time after which it ends.
    pub fn renew_sign_in(&self, handle: SignInHandle, ambient: Ambient) -> Step<Result<(), Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).renew_sign_in(&handle).await })
    }

    /// Begins to end a session: from then on no host knows it. `false` when there was none.
    pub fn sign_out(&self, handle: SignInHandle, ambient: Ambient) -> Step<Result<bool, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).sign_out(&handle).await })
    }

    /// Begins to make an API token. [`Error::Denied`] when the user has as many as a user may have.
    pub fn create_api_token(&self, new: NewApiToken, ambient: Ambient) -> Step<Result<ApiToken, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).create_api_token(&new).await })
    }

    /// Begins to list the API tokens of a user, those too that have ended.
    pub fn api_tokens(&self, user: String, ambient: Ambient) -> Step<Result<Vec<ApiToken>, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).api_tokens(&user).await })
    }

    /// Begins to list the API tokens of all users: the page behind `after`.
    pub fn all_api_tokens(&self, after: Option<Key>, ambient: Ambient) -> Step<Result<ApiTokenPage, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).all_api_tokens(after).await })
    }

    /// Begins to find the API token of a user that a client shows; nothing when there is none, or it has ended. It reads one
    /// record and writes nothing.
    pub fn shown_api_token(
        &self,
        user: String,
        shown: ApiTokenShown,
        ambient: Ambient,
    ) -> Step<Result<Option<ApiToken>, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).shown_api_token(&user, &shown).await })
    }

    /// Begins to look up the API token of that id; nothing when there is none, or it has ended.
    pub fn api_token(&self, id: ApiTokenId, ambient: Ambient) -> Step<Result<Option<ApiTokenRecord>, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).api_token(&id).await })
    }

    /// Begins to revoke an API token: from then on no host takes it. `false` when there was none.
    pub fn revoke_api_token(&self, id: ApiTokenId, ambient: Ambient) -> Step<Result<bool, Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).revoke_api_token(&id).await })
    }

    /// Begins to note that these API tokens were used, which is written down once an hour at most for each.
    pub fn note_api_tokens(&self, ids: Vec<ApiTokenId>, ambient: Ambient) -> Step<Result<(), Error>> {
        let call = self.own(ambient);
        start(move |io| async move { call(io).note_api_tokens(&ids).await })
    }
}
