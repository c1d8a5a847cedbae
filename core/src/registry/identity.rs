//! What a host keeps of those who sign in.

use super::Registry;
use crate::Ambient;
use crate::effect::Step;
use crate::error::Error;
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
}
