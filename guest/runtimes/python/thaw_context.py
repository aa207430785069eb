# SPDX-License-Identifier: Apache-2.0
"""The context object of a handler, with the fields Lambda documents."""

import os
import time


class CognitoIdentity:
    def __init__(self, cognito_identity_id=None, cognito_identity_pool_id=None):
        self.cognito_identity_id = cognito_identity_id
        self.cognito_identity_pool_id = cognito_identity_pool_id

    def __repr__(self):
        return (f"{type(self).__name__}([cognito_identity_id={self.cognito_identity_id},"
                f"cognito_identity_pool_id={self.cognito_identity_pool_id}])")


class Client:
    def __init__(self, given):
        self.installation_id = given.get("installation_id")
        self.app_title = given.get("app_title")
        self.app_version_name = given.get("app_version_name")
        self.app_version_code = given.get("app_version_code")
        self.app_package_name = given.get("app_package_name")


class ClientContext:
    def __init__(self, given):
        self.custom = given.get("custom")
        self.env = given.get("env")
        self.client = Client(given["client"]) if given.get("client") else None


class LambdaContext:
    def __init__(self, headers, environ):
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self._epoch_deadline_time_in_ms = int(headers.get("lambda-runtime-deadline-ms", 0))
        self.identity = CognitoIdentity()
        self.client_context = None
        client_context = headers.get("lambda-runtime-client-context")
        if client_context:
            self.client_context = ClientContext(_loads(client_context) or {})
        identity = headers.get("lambda-runtime-cognito-identity")
        if identity:
            given = _loads(identity) or {}
            self.identity = CognitoIdentity(
                given.get("cognitoIdentityId"), given.get("cognitoIdentityPoolId"))

    def get_remaining_time_in_millis(self):
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def log(self, msg):
        text = msg.decode("utf-8", "replace") if isinstance(msg, bytes) else str(msg)
        os.write(1, text.encode("utf-8", "replace"))

    def __repr__(self):
        fields = ("aws_request_id", "log_group_name", "log_stream_name", "function_name",
                  "memory_limit_in_mb", "function_version", "invoked_function_arn",
                  "client_context", "identity")
        return (f"{type(self).__name__}(["
                + ",".join(f"{name}={getattr(self, name)}" for name in fields) + "])")


def _loads(text):
    """What a caller passed along may be anything; it must not fail the invocation."""
    import json

    try:
        value = json.loads(text.encode("latin-1").decode("utf-8"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
