# SPDX-License-Identifier: Apache-2.0
"""Two tenants of one host: neither sees, uses, guesses or changes what is the other's; and who signs
wrongly is nobody."""

import datetime
import json
import unittest.mock

import botocore.auth

import daemon
import shared

FUNCTIONS = "/2015-03-31/functions"


def prepare():
    shared.begin()


class Tenants(shared.Case):
    @classmethod
    def setUpClass(cls):
        cls.mine, cls.other = shared.client(), shared.client(shared.account("second"))
        cls.addClassCleanup(cls.mine.close)
        cls.addClassCleanup(cls.other.close)
        cls.function = cls.mine.get_function_configuration(FunctionName="actor")["FunctionArn"]
        cls.layer = cls.mine.get_layer_version(LayerName="greeting", VersionNumber=1)["LayerVersionArn"]

    def test_lists(self):
        self.assertEqual(self.other.list_functions()["Functions"], [])
        self.assertEqual(self.other.list_functions(FunctionVersion="ALL")["Functions"], [])
        self.assertEqual(self.other.list_layers()["Layers"], [])
        self.assertEqual(self.other.get_account_settings()["AccountUsage"],
                         {"TotalCodeSize": 0, "FunctionCount": 0})
        # A marker of mine is no key to my list.
        shared.create(self.mine, "another")
        marker = self.mine.list_functions(MaxItems=1)["NextMarker"]
        self.assertEqual(self.other.list_functions(Marker=marker)["Functions"], [])
        self.mine.delete_function(FunctionName="another")

    def test_by_name_and_by_arn(self):
        """Everything that names a function says that there is none."""
        other = self.other
        for name in ("actor", self.function, self.function.replace("arn:aws:lambda:us-east-1:", "")):
            for call, more in (
                    (other.get_function, {}), (other.get_function_configuration, {}),
                    (other.delete_function, {}), (other.update_function_configuration, {"Timeout": 9}),
                    (other.update_function_code, {"ZipFile": daemon.archive("actor")}),
                    (other.publish_version, {}), (other.list_versions_by_function, {}),
                    (other.create_alias, {"Name": "mine", "FunctionVersion": "1"}),
                    (other.list_aliases, {}), (other.get_alias, {"Name": "live"}),
                    (other.get_policy, {}), (other.get_function_concurrency, {}),
                    (other.put_function_concurrency, {"ReservedConcurrentExecutions": 0}),
                    (other.delete_function_concurrency, {}),
                    (other.add_permission, {"StatementId": "me", "Action": "lambda:InvokeFunction",
                                            "Principal": shared.account("second").id}),
                    (other.put_function_event_invoke_config, {"MaximumRetryAttempts": 0}),
                    (other.list_provisioned_concurrency_configs, {}),
                    (other.put_provisioned_concurrency_config,
                     {"Qualifier": "1", "ProvisionedConcurrentExecutions": 1})):
                with self.subTest(f"{call.__name__} {name}"):
                    self.refused("ResourceNotFoundException", 404, call, FunctionName=name, **more)
        for call, more in ((other.list_tags, {}), (other.tag_resource, {"Tags": {"a": "b"}}),
                           (other.untag_resource, {"TagKeys": ["a"]})):
            self.refused("ResourceNotFoundException", 404, call, Resource=self.function, **more)
        self.assertEqual(self.mine.get_function_configuration(FunctionName="actor")["Timeout"],
                         shared.ACTOR_TIMEOUT)

    def test_invoke(self):
        """What is there and what is not look the same."""
        none = self.function.replace("actor", "nobody")
        messages = [self.refused("AccessDeniedException", 403, self.other.invoke, FunctionName=name)
                    ["Error"]["Message"].replace("nobody", "actor") for name in (self.function, none)]
        self.assertEqual(messages[0], messages[1])
        for kind in ("Event", "DryRun"):
            self.refused("AccessDeniedException", 403, self.other.invoke, FunctionName=self.function,
                         InvocationType=kind)
        self.refused("AccessDeniedException", 403, self.other.invoke_with_response_stream,
                     FunctionName=self.function)
        self.refused("ResourceNotFoundException", 404, self.other.invoke, FunctionName="actor")

    def test_layers(self):
        for call in (self.other.get_layer_version, self.other.delete_layer_version):
            for name in ("greeting", self.layer.rpartition(":")[0]):
                with self.subTest(f"{call.__name__} {name}"):
                    if call == self.other.delete_layer_version and name == "greeting":
                        call(LayerName=name, VersionNumber=1)  # one's own, which is not there
                        continue
                    with self.assertRaises(self.other.exceptions.ClientError) as caught:
                        call(LayerName=name, VersionNumber=1)
                    self.assertIn(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"],
                                  (403, 404))
        with self.assertRaises(self.other.exceptions.ClientError) as caught:
            self.other.get_layer_version_by_arn(Arn=self.layer)
        self.assertIn(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], (403, 404))
        self.refused("InvalidParameterValueException", 400, shared.create, self.other, "borrower",
                     Layers=[self.layer])
        self.mine.get_layer_version(LayerName="greeting", VersionNumber=1)

    def test_same_name(self):
        made = shared.create(self.other, "actor", Description="the other's")
        self.addCleanup(self.other.delete_function, FunctionName="actor")
        self.assertNotEqual(made["FunctionArn"], self.function)
        self.assertEqual(self.other.get_function(FunctionName="actor")["Configuration"]["Description"],
                         "the other's")
        self.assertEqual(self.mine.get_function(FunctionName="actor")["Configuration"]["Description"], "")

    def test_destination(self):
        shared.create(self.other, "sender")
        self.addCleanup(self.other.delete_function, FunctionName="sender")
        self.refused("InvalidParameterValueException", 400, self.other.put_function_event_invoke_config,
                     FunctionName="sender",
                     DestinationConfig={"OnFailure": {"Destination": self.function}})

    def test_permission(self):
        shared.actor(1)
        version = self.function + ":1"
        self.refused("AccessDeniedException", 403, self.other.invoke, FunctionName=version)
        self.mine.add_permission(FunctionName="actor", Qualifier="1", StatementId="other",
                                 Action="lambda:InvokeFunction", Principal=shared.account("second").id)
        response = self.other.invoke(FunctionName=version, Payload=b'{"do": "self"}')
        got = json.loads(response["Payload"].read())
        self.assertEqual((got["name"], got["environ"]["COLOUR"]), ("actor", "green"))
        # This version, this action, no more.
        self.refused("AccessDeniedException", 403, self.other.invoke, FunctionName=self.function)
        self.refused("AccessDeniedException", 403, self.other.invoke, FunctionName=self.function + ":2")
        self.refused("ResourceNotFoundException", 404, self.other.get_function, FunctionName=version)
        self.refused("ResourceNotFoundException", 404, self.other.get_policy, FunctionName=version)
        self.mine.remove_permission(FunctionName="actor", Qualifier="1", StatementId="other")
        self.refused("AccessDeniedException", 403, self.other.invoke, FunctionName=version)

    def test_archives(self):
        """A location is good for what it was made for, and nothing else."""
        location = self.mine.get_function(FunctionName="actor")["Code"]["Location"]
        path = location.partition(str(shared.service().port))[2]
        digest = path.split("?")[0].rpartition("/")[2]
        self.assertEqual(shared.send("GET", path, {}, b"").status, 200)
        for wrong in (path.split("?")[0], path.replace("expires=", "expires=9"),
                      path.replace(digest, "0" * len(digest)), path[:-1] + ("0" if path[-1] != "0" else "1")):
            self.assertIn(shared.send("GET", wrong, {}, b"").status, (400, 403), wrong)


class Signatures(shared.Case):
    """Requests that are to be refused before anything is looked at."""

    def check(self, code, request, status=403):
        self.assert_answer(shared.send(*request), status, code)

    def sign(self, who=None, **more):
        return shared.signed(who or shared.account(), "GET", FUNCTIONS, **more)

    def test_good(self):
        self.assert_answer(shared.send(*self.sign()), 200, None)

    def test_secret(self):
        self.check("InvalidSignatureException", self.sign(shared.account()._replace(secret="x" * 40)))
        # Another tenant's secret opens nothing.
        self.check("InvalidSignatureException",
                   self.sign(shared.account()._replace(secret=shared.account("second").secret)))

    def test_unknown_key(self):
        self.check("UnrecognizedClientException",
                   self.sign(shared.account()._replace(key="AKIAAAAAAAAAAAAAAAAA")))

    def test_unsigned(self):
        self.check("MissingAuthenticationTokenException", ("GET", FUNCTIONS, {}, b""))

    def test_region_and_service(self):
        self.check("InvalidSignatureException", self.sign(region="eu-west-1"))

    def test_disabled_key(self):
        second = shared.service().account(shared.account().name, "key")
        self.assert_answer(shared.send(*self.sign(second)), 200, None)
        self.assertEqual(shared.service().thaw("account", "disable", second.key).code, 0)
        self.check("UnrecognizedClientException", self.sign(second))
        self.assert_answer(shared.send(*self.sign()), 200, None)
        self.assertEqual(shared.service().thaw("account", "enable", second.key).code, 0)
        self.assert_answer(shared.send(*self.sign(second)), 200, None)

    def at(self, seconds):
        """A request that was signed so long after now."""
        when = datetime.datetime.utcnow() + datetime.timedelta(seconds=seconds)

        class Clock(datetime.datetime):
            @classmethod
            def utcnow(cls):
                return when

        with unittest.mock.patch.object(botocore.auth.datetime, "datetime", Clock):
            return self.sign()

    def test_time(self):
        self.assert_answer(shared.send(*self.at(-200)), 200, None)
        self.assert_answer(shared.send(*self.at(200)), 200, None)
        # A replay, and a clock that is ahead.
        self.check("InvalidSignatureException", self.at(-330))
        self.check("InvalidSignatureException", self.at(330))

    def test_tampered(self):
        who = shared.account()
        tags = "/2017-03-31/tags/" + f"arn:aws:lambda:{daemon.REGION}:{who.id}:function:actor"
        method, path, headers, body = shared.signed(who, "POST", tags.replace(":", "%3A"),
                                                    {"Tags": {"sum": "100"}})
        self.check("InvalidSignatureException", (method, path, headers, body.replace(b"100", b"999")))
        self.check("InvalidSignatureException", (method, path + "x", headers, body))
        self.check("InvalidSignatureException", (method, path + "?a=b", headers, body))
        self.check("InvalidSignatureException", ("PUT", FUNCTIONS + "/actor/code", headers, body))
        get = self.sign()
        for name in get[2]:
            with self.subTest(name):
                changed = dict(get[2])
                changed[name] = changed[name][:-1] + ("1" if changed[name][-1] != "1" else "2")
                answer = shared.send(get[0], get[1], changed, get[3])
                self.assertIn(answer.status, (400, 403), str(answer))
        self.assertNotIn("sum", shared.client().list_tags(
            Resource=f"arn:aws:lambda:{daemon.REGION}:{who.id}:function:actor")["Tags"])

    def test_secrets_do_not_show(self):
        """Not in the log, not in the database."""
        self.assertNotIn(shared.account().secret, shared.service().log())
        for name in ("thaw.db", "thaw.db-wal"):
            with open(f"{shared.service().data}/{name}", "rb") as file:
                self.assertNotIn(shared.account().secret.encode(), file.read())
