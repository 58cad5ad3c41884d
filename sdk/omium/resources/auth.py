"""`client.auth`: signing up, in and out; a person's own password and codes."""

from __future__ import annotations

from omium.calls import ClientT, Request, Resource, endpoint, operation
from omium.types import Me, MfaEnrolment, PersonSessionPage, RecoveryCodes, SignedIn, Tokens, Told


class Auth(Resource[ClientT]):
    """People. What `login` answers as `access_token` makes a client theirs: `OmiumClient(access_token=...)`."""

    @operation
    def register(
        self,
        email: str,
        password: str,
        first_name: str | None = None,
        last_name: str | None = None,
        tenant_name: str | None = None,
    ) -> Request[SignedIn]:
        """A new person with a new tenant. The answer has no tokens where the address must be confirmed first."""
        body = {
            "email": email,
            "password": password,
            "first_name": first_name,
            "last_name": last_name,
            "tenant_name": tenant_name,
        }
        return Request("POST", "auth/register", body=body, needs_key=False)

    @operation
    def login(
        self, email: str, password: str, totp_code: str | None = None, tenant_id: str | None = None
    ) -> Request[SignedIn]:
        """Tokens for the tenant of the last time, or for `tenant_id`.

        Raises:
            AuthenticationError: with the code `AUTH_MFA_REQUIRED` where `totp_code` is missing.
        """
        body = {"email": email, "password": password, "totp_code": totp_code, "tenant_id": tenant_id}
        return Request("POST", "auth/login", body=body, needs_key=False)

    @operation
    def refresh(self, refresh_token: str) -> Request[Tokens]:
        """The next pair. A refresh token works once: sent again, it ends the session."""
        return Request("POST", "auth/refresh", body={"refresh_token": refresh_token}, needs_key=False)

    @operation
    def logout(self, refresh_token: str | None = None, everywhere: bool | None = None) -> Request[None]:
        """Ends the session of the client's access token, or of `refresh_token`; with `everywhere` all of the person's."""
        body = {"refresh_token": refresh_token, "everywhere": everywhere}
        return Request("POST", "auth/logout", body=body, needs_key=False)

    @operation
    def me(self) -> Request[Me]:
        """Who is asking, what they may do, and to which tenants they belong."""
        return Request("GET", "auth/me")

    @operation
    def switch_tenant(self, tenant_id: str) -> Request[SignedIn]:
        """Tokens for another tenant of the person."""
        return Request("POST", "auth/switch-tenant", body={"tenant_id": tenant_id})

    @operation
    def accept_invitation(
        self,
        token: str,
        password: str | None = None,
        totp_code: str | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
    ) -> Request[SignedIn]:
        """Joins a tenant. Without a password, as the person whose access token the client has."""
        body = {
            "token": token,
            "password": password,
            "totp_code": totp_code,
            "first_name": first_name,
            "last_name": last_name,
        }
        return Request("POST", "auth/accept-invitation", body=body, needs_key=False)

    @operation
    def verify_email(self, token: str) -> Request[Told]:
        """Confirms an address with the token of the mail."""
        return Request("POST", "auth/verify-email", body={"token": token}, needs_key=False)

    @operation
    def resend_verification(self, email: str) -> Request[Told]:
        """Asks for another mail to confirm an address."""
        return Request("POST", "auth/resend-verification", body={"email": email}, needs_key=False)

    @operation
    def forgot_password(self, email: str) -> Request[Told]:
        """Asks for a mail with which the password can be set."""
        return Request("POST", "auth/forgot-password", body={"email": email}, needs_key=False)

    @operation
    def reset_password(self, token: str, password: str) -> Request[Told]:
        """Sets the password with the token of the mail, and ends all sessions."""
        return Request("POST", "auth/reset-password", body={"token": token, "password": password}, needs_key=False)

    @operation
    def change_password(self, current_password: str, new_password: str) -> Request[Told]:
        """Ends all other sessions."""
        body = {"current_password": current_password, "new_password": new_password}
        return Request("POST", "auth/change-password", body=body)

    @operation
    def sessions(self, limit: int | None = None, cursor: str | None = None) -> Request[PersonSessionPage]:
        """Where the person is signed in to this tenant."""
        return Request("GET", "auth/sessions", query={"limit": limit, "cursor": cursor})

    @operation
    def end_session(self, session_id: str) -> Request[None]:
        """Signs the person out somewhere else."""
        return Request("DELETE", endpoint("auth", "sessions", session_id))

    @operation
    def enroll_mfa(self, password: str) -> Request[MfaEnrolment]:
        """A secret for an authenticator app, which counts once `confirm_mfa` has had a code."""
        return Request("POST", "auth/mfa/enroll", body={"password": password})

    @operation
    def confirm_mfa(self, totp_code: str) -> Request[RecoveryCodes]:
        """From now on signing in asks for a code. The recovery codes are told this once."""
        return Request("POST", "auth/mfa/confirm", body={"totp_code": totp_code})

    @operation
    def disable_mfa(self, password: str, totp_code: str) -> Request[Told]:
        """No code is asked for any more."""
        return Request("POST", "auth/mfa/disable", body={"password": password, "totp_code": totp_code})
