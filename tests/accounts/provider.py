"""Test double of an OpenID provider, and of the parts of GitHub that a login needs, on loopback in this process."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "client-of-tests", "a secret of the tests"


class Provider(ThreadingHTTPServer):
    """Provider that authorizes every request, and checks the client, the code, its redirect and the PKCE verifier."""

    key: ClassVar[rsa.RSAPrivateKey] = rsa.generate_private_key(65537, 2048)

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.codes: dict[str, dict[str, str]] = {}
        #: The person who logs in: the claims of the ID token, and GitHub's profile and addresses.
        self.claims: dict[str, Any] = {}
        self.profile: Any = {}
        self.emails: Any = []
        #: Faults that a test sets: claims that replace valid ones, the signing key, headers, the whole response.
        self.forged: dict[str, Any] = {}
        self.signing_key: Any = self.key
        self.algorithm = "RS256"
        self.id_token: str | None = None
        self.answer: Any = None
        self.exchanged = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def authorize(self, location: str) -> str:
        """Authorize as a browser does, and return the URL of the redirect back."""
        asked = dict(parse_qsl(urlsplit(location).query))
        assert asked["client_id"] == CLIENT_ID
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, form: dict[str, str]) -> tuple[int, Any]:
        self.exchanged += 1
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            asked is None
            or asked["code_challenge"] != challenge.rstrip(b"=").decode()
            or asked["redirect_uri"] != form.get("redirect_uri")
            or (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET)
        ):
            return 400, {"error": "invalid_grant"}
        if self.answer is not None:
            return 200, self.answer
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, **self.claims, **self.forged}
        token = jwt.encode(claims, self.signing_key, self.algorithm, headers={"kid": "k1"})
        return 200, {
            "access_token": "an access token",
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": self.id_token or token,
        }


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(Provider.key.public_key()))
        pages = {
            "/jwks": {"keys": [{**key, "kid": "k1", "alg": "RS256", "use": "sig"}]},
            "/user": self.server.profile,
            "/user/emails": self.server.emails,
        }
        self._say(200 if self.path in pages else 404, pages.get(self.path))

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self._say(*self.server.exchange(form))

    def _say(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
