"""`/auth`: a person's own password, address and codes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from api.auth.principal import Principal
from api.deps import Credentials, Sender, caller_of
from api.routes.auth import keep_device
from api.schemas.auth import (
    ChangePasswordRequest,
    EmailRequest,
    MfaConfirmed,
    MfaConfirmRequest,
    MfaDisableRequest,
    MfaEnrolment,
    MfaEnrolRequest,
    ResetRequest,
    TokenRequest,
    Told,
)

router = APIRouter(prefix="/auth", tags=["auth"])

Self = Annotated[Principal, caller_of("account:self")]
_MAILED = Told(message="If the address has an account, a mail is on its way to it.")


@router.post("/verify-email", response_model=Told)
async def verify_email(body: TokenRequest, credentials: Credentials, origin: Sender) -> Told:
    """Shows that the address is the person's, with the token of the mail, once."""
    await credentials.verify_email(body.token, origin)
    return Told(message="The address is confirmed.")


@router.post("/resend-verification", status_code=202, response_model=Told)
async def resend_verification(body: EmailRequest, credentials: Credentials) -> Told:
    """Another mail; the token of the one before works no more."""
    credentials.ask_for_mail(body.email, "verify")
    return _MAILED


@router.post("/forgot-password", status_code=202, response_model=Told)
async def forgot_password(body: EmailRequest, credentials: Credentials) -> Told:
    """A mail with a token that sets a new password. The answer is the same for an address that nobody has."""
    credentials.ask_for_mail(body.email, "reset")
    return _MAILED


@router.post("/reset-password", response_model=Told)
async def reset_password(
    body: ResetRequest, credentials: Credentials, origin: Sender, request: Request, response: Response
) -> Told:
    """Sets the password with the token of the mail, once, and ends all sessions."""
    device = await credentials.reset_password(body.token, body.password, origin)
    if device is not None:
        keep_device(response, request, device)
    return Told(message="The password is set. Sign in with it.")


@router.post("/change-password", response_model=Told)
async def change_password(body: ChangePasswordRequest, credentials: Credentials, caller: Self) -> Told:
    """Ends all sessions of the person but the present one."""
    await credentials.change_password(caller, body.current_password, body.new_password)
    return Told(message="The password is changed.")


@router.post("/mfa/enroll", status_code=201, response_model=MfaEnrolment)
async def enrol_mfa(body: MfaEnrolRequest, credentials: Credentials, caller: Self) -> MfaEnrolment:
    """A secret for an authenticator app. It counts once a code has confirmed it."""
    secret, uri = await credentials.enrol_mfa(caller, body.password)
    return MfaEnrolment(secret=secret, otpauth_uri=uri)


@router.post("/mfa/confirm", response_model=MfaConfirmed)
async def confirm_mfa(body: MfaConfirmRequest, credentials: Credentials, caller: Self) -> MfaConfirmed:
    """From now on signing in asks for a code. The answer has the recovery codes, this once."""
    return MfaConfirmed(recovery_codes=await credentials.confirm_mfa(caller, body.totp_code))


@router.post("/mfa/disable", response_model=Told)
async def disable_mfa(body: MfaDisableRequest, credentials: Credentials, caller: Self) -> Told:
    """Takes the password and a code."""
    await credentials.disable_mfa(caller, body.password, body.totp_code)
    return Told(message="No code is asked for any more.")
