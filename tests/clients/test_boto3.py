# SPDX-License-Identifier: Apache-2.0
"""All operations but invocations, with boto3: every response is held against botocore's model
(shapes.py). No function is started here."""

import io
import json
import urllib.error
import urllib.request
import zipfile

import botocore.exceptions

import daemon
import shared


def prepare():
    shared.begin()


def arn(name, qualifier=None):
    tail = f":{qualifier}" if qualifier else ""
    return f"arn:aws:lambda:{daemon.REGION}:{shared.account().id}:function:{name}{tail}"


class Boto3(shared.Case):
    @classmethod
    def setUpClass(cls):
        cls.lambdas = shared.client()
        shared.create(cls.lambdas, "plain", Description="for boto3", Tags={"a": "1"})

    def test_function(self):
        lambdas, code = self.lambdas, daemon.archive("actor")
        made = shared.create(lambdas, "life-of", Description="d", Timeout=10, MemorySize=512,
                             EphemeralStorage={"Size": 1024}, TracingConfig={"Mode": "Active"},
                             Environment={"Variables": {"A1": "ü", "B2": ""}}, Tags={"k": "v"},
                             Architectures=["x86_64"], PackageType="Zip")
        self.assertEqual(made["FunctionArn"], arn("life-of"))
        self.assertEqual((made["CodeSha256"], made["CodeSize"]), (shared.sha256(code), len(code)))
        self.assertEqual((made["Version"], made["MemorySize"], made["Timeout"]), ("$LATEST", 512, 10))
        self.assertEqual(made["Environment"]["Variables"], {"A1": "ü", "B2": ""})
        self.assertEqual(made["EphemeralStorage"], {"Size": 1024})
        for waiter in ("function_exists", "function_active", "function_active_v2", "function_updated",
                       "function_updated_v2"):
            lambdas.get_waiter(waiter).wait(FunctionName="life-of")
        for name in ("life-of", arn("life-of"), f"{shared.account().id}:function:life-of",
                     f"{shared.account().id}:life-of", "function:life-of"):
            self.assertEqual(lambdas.get_function_configuration(FunctionName=name)["CodeSha256"],
                             made["CodeSha256"])
        got = lambdas.get_function(FunctionName="life-of")
        self.assertEqual(got["Tags"], {"k": "v"})
        with urllib.request.urlopen(got["Code"]["Location"], timeout=60) as answer:
            self.assertEqual(answer.read(), code)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(got["Code"]["Location"].replace("signature=", "signature=0"), timeout=60)
        self.assertEqual(caught.exception.code, 403)
        caught.exception.close()
        changed = lambdas.update_function_configuration(
            FunctionName="life-of", Handler="app.other", Description="",
            RevisionId=got["Configuration"]["RevisionId"])
        self.assertEqual((changed["Handler"], changed["Description"]), ("app.other", ""))
        self.assertEqual(changed["Environment"]["Variables"], {"A1": "ü", "B2": ""})
        self.assertNotEqual(changed["RevisionId"], made["RevisionId"])
        self.refused("PreconditionFailedException", 412, lambdas.update_function_configuration,
                     FunctionName="life-of", Timeout=5, RevisionId=made["RevisionId"])
        self.refused("PreconditionFailedException", 412, lambdas.update_function_code,
                     FunctionName="life-of", ZipFile=code, RevisionId=made["RevisionId"])
        dry = lambdas.update_function_code(FunctionName="life-of", DryRun=True,
                                           ZipFile=daemon.archive("actor", [("first", "third")]))
        self.assertEqual(lambdas.get_function_configuration(FunctionName="life-of")["CodeSha256"],
                         made["CodeSha256"], dry)
        lambdas.delete_function(FunctionName="life-of")
        self.refused("ResourceNotFoundException", 404, lambdas.get_function, FunctionName="life-of")
        self.refused("ResourceNotFoundException", 404, lambdas.delete_function, FunctionName="life-of")

    def test_versions(self):
        lambdas = self.lambdas
        shared.create(lambdas, "versions")
        one = lambdas.publish_version(FunctionName="versions", Description="one")
        self.assertEqual((one["Version"], one["Description"], one["FunctionArn"]),
                         ("1", "one", arn("versions", 1)))
        self.refused("InvalidParameterValueException", 400, lambdas.publish_version,
                     FunctionName="versions", CodeSha256="A" * 43 + "=")
        self.refused("PreconditionFailedException", 412, lambdas.publish_version,
                     FunctionName="versions", RevisionId="00000000-0000-0000-0000-000000000000")
        two = lambdas.update_function_code(FunctionName="versions", Publish=True,
                                           ZipFile=daemon.archive("actor", [("first", "third")]))
        self.assertEqual(two["Version"], "2")
        pages = lambdas.get_paginator("list_versions_by_function").paginate(
            FunctionName="versions", PaginationConfig={"PageSize": 1})
        self.assertEqual([version["Version"] for page in pages for version in page["Versions"]],
                         ["$LATEST", "1", "2"])
        every = [function["FunctionArn"] for page in
                 lambdas.get_paginator("list_functions").paginate(FunctionVersion="ALL")
                 for function in page["Functions"]]
        self.assertIn(arn("versions", 1), every)
        self.assertIn(arn("versions", "$LATEST"), every)
        lambdas.delete_function(FunctionName="versions", Qualifier="1")
        self.refused("ResourceNotFoundException", 404, lambdas.get_function, FunctionName="versions:1")
        self.refused("InvalidParameterValueException", 400, lambdas.delete_function,
                     FunctionName="versions", Qualifier="$LATEST")
        # Numbers are not used again, not even by a function of the same name.
        lambdas.delete_function(FunctionName="versions")
        again = shared.create(lambdas, "versions", Publish=True)
        self.assertEqual(again["Version"], "3")
        lambdas.delete_function(FunctionName="versions")

    def test_aliases(self):
        lambdas = self.lambdas
        shared.create(lambdas, "aliases", Publish=True)
        lambdas.update_function_code(FunctionName="aliases", Publish=True,
                                     ZipFile=daemon.archive("actor", [("first", "third")]))
        made = lambdas.create_alias(FunctionName="aliases", Name="live", FunctionVersion="1",
                                    Description="d", RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}})
        self.assertEqual(made["AliasArn"], arn("aliases", "live"))
        self.assertEqual(made["RoutingConfig"], {"AdditionalVersionWeights": {"2": 0.25}})
        got = lambdas.get_alias(FunctionName="aliases", Name="live")
        self.assertEqual(got["RevisionId"], made["RevisionId"])
        configuration = lambdas.get_function_configuration(FunctionName="aliases:live")
        self.assertEqual(configuration["Version"], "1")
        self.refused("ResourceConflictException", 409, lambdas.create_alias, FunctionName="aliases",
                     Name="live", FunctionVersion="1")
        self.refused("PreconditionFailedException", 412, lambdas.update_alias, FunctionName="aliases",
                     Name="live", Description="other", RevisionId="00000000-0000-0000-0000-000000000000")
        self.refused("ResourceNotFoundException", 404, lambdas.create_alias, FunctionName="aliases",
                     Name="other", FunctionVersion="9")
        self.refused("ResourceConflictException", 409, lambdas.delete_function, FunctionName="aliases",
                     Qualifier="2")
        moved = lambdas.update_alias(FunctionName="aliases", Name="live", FunctionVersion="2",
                                     RoutingConfig={"AdditionalVersionWeights": {}})
        self.assertEqual((moved["FunctionVersion"], moved.get("RoutingConfig", {})), ("2", {}))
        for name in ("a", "b", "c"):
            lambdas.create_alias(FunctionName="aliases", Name=name, FunctionVersion="1")
        pages = lambdas.get_paginator("list_aliases").paginate(FunctionName="aliases",
                                                              PaginationConfig={"PageSize": 2})
        self.assertEqual(sorted(alias["Name"] for page in pages for alias in page["Aliases"]),
                         ["a", "b", "c", "live"])
        of_one = lambdas.list_aliases(FunctionName="aliases", FunctionVersion="1")["Aliases"]
        self.assertEqual(sorted(alias["Name"] for alias in of_one), ["a", "b", "c"])
        lambdas.delete_alias(FunctionName="aliases", Name="a")
        self.refused("ResourceNotFoundException", 404, lambdas.get_alias, FunctionName="aliases", Name="a")
        lambdas.delete_function(FunctionName="aliases")

    def test_policies(self):
        lambdas = self.lambdas
        self.refused("ResourceNotFoundException", 404, lambdas.get_policy, FunctionName="plain")
        added = json.loads(lambdas.add_permission(
            FunctionName="plain", StatementId="one", Action="lambda:InvokeFunction",
            Principal="210987654321")["Statement"])
        self.assertEqual(added["Principal"], {"AWS": "arn:aws:iam::210987654321:root"})
        lambdas.add_permission(FunctionName="plain", StatementId="two", Action="lambda:InvokeFunction",
                               Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::bucket")
        self.refused("ResourceConflictException", 409, lambdas.add_permission, FunctionName="plain",
                     StatementId="one", Action="lambda:InvokeFunction", Principal="210987654321")
        got = lambdas.get_policy(FunctionName="plain")
        policy = json.loads(got["Policy"])
        self.assertEqual([one["Sid"] for one in policy["Statement"]], ["one", "two"])
        self.refused("PreconditionFailedException", 412, lambdas.remove_permission, FunctionName="plain",
                     StatementId="one", RevisionId="00000000-0000-0000-0000-000000000000")
        for name in ("one", "two"):
            lambdas.remove_permission(FunctionName="plain", StatementId=name)
        self.refused("ResourceNotFoundException", 404, lambdas.remove_permission, FunctionName="plain",
                     StatementId="one")

    def test_concurrency(self):
        lambdas = self.lambdas
        self.assertEqual(lambdas.put_function_concurrency(
            FunctionName="plain", ReservedConcurrentExecutions=7)["ReservedConcurrentExecutions"], 7)
        self.assertEqual(lambdas.get_function_concurrency(
            FunctionName="plain")["ReservedConcurrentExecutions"], 7)
        self.assertEqual(lambdas.get_function(FunctionName="plain")["Concurrency"],
                         {"ReservedConcurrentExecutions": 7})
        limits = lambdas.get_account_settings()["AccountLimit"]
        self.assertEqual(limits["UnreservedConcurrentExecutions"], limits["ConcurrentExecutions"] - 7)
        self.refused("InvalidParameterValueException", 400, lambdas.put_function_concurrency,
                     FunctionName="plain", ReservedConcurrentExecutions=901)
        lambdas.delete_function_concurrency(FunctionName="plain")
        self.assertNotIn("ReservedConcurrentExecutions",
                         lambdas.get_function_concurrency(FunctionName="plain"))

    def test_event_invoke(self):
        lambdas = self.lambdas
        self.refused("ResourceNotFoundException", 404, lambdas.get_function_event_invoke_config,
                     FunctionName="plain")
        put = lambdas.put_function_event_invoke_config(
            FunctionName="plain", MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60,
            DestinationConfig={"OnFailure": {"Destination": arn("actor")}})
        self.assertEqual(put["FunctionArn"], arn("plain", "$LATEST"))
        self.assertEqual(put["DestinationConfig"]["OnFailure"], {"Destination": arn("actor")})
        updated = lambdas.update_function_event_invoke_config(FunctionName="plain", MaximumRetryAttempts=0)
        self.assertEqual((updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]), (0, 60))
        got = lambdas.get_function_event_invoke_config(FunctionName="plain")
        self.assertEqual(got["MaximumRetryAttempts"], 0)
        pages = lambdas.get_paginator("list_function_event_invoke_configs").paginate(FunctionName="plain")
        self.assertEqual(sum(len(page["FunctionEventInvokeConfigs"]) for page in pages), 1)
        self.refused("InvalidParameterValueException", 400, lambdas.put_function_event_invoke_config,
                     FunctionName="plain",
                     DestinationConfig={"OnFailure": {"Destination": arn("plain")}})
        self.refused("InvalidParameterValueException", 400, lambdas.put_function_event_invoke_config,
                     FunctionName="plain",
                     DestinationConfig={"OnFailure": {"Destination": arn("nobody")}})
        lambdas.delete_function_event_invoke_config(FunctionName="plain")
        self.refused("ResourceNotFoundException", 404, lambdas.delete_function_event_invoke_config,
                     FunctionName="plain")

    def test_layers(self):
        lambdas, content = self.lambdas, daemon.archive("layer")
        versions = [lambdas.publish_layer_version(
            LayerName="library", Description=f"number {number}", Content={"ZipFile": content},
            CompatibleRuntimes=["python3.9", "nodejs18.x"][:1], CompatibleArchitectures=["x86_64"],
            LicenseInfo="MIT") for number in (1, 2)]
        self.assertEqual([one["Version"] for one in versions], [1, 2])
        self.assertEqual(versions[0]["Content"]["CodeSha256"], shared.sha256(content))
        got = lambdas.get_layer_version(LayerName="library", VersionNumber=1)
        self.assertEqual((got["Description"], got["LicenseInfo"]), ("number 1", "MIT"))
        with urllib.request.urlopen(got["Content"]["Location"], timeout=60) as answer:
            self.assertEqual(answer.read(), content)
        by_arn = lambdas.get_layer_version_by_arn(Arn=versions[1]["LayerVersionArn"])
        self.assertEqual(by_arn["Version"], 2)
        pages = lambdas.get_paginator("list_layer_versions").paginate(
            LayerName="library", PaginationConfig={"PageSize": 1})
        self.assertEqual([one["Version"] for page in pages for one in page["LayerVersions"]], [2, 1])
        pages = lambdas.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 1})
        latest = {one["LayerName"]: one["LatestMatchingVersion"]["Version"]
                  for page in pages for one in page["Layers"]}
        self.assertEqual(latest["library"], 2)
        self.assertEqual(lambdas.list_layers(CompatibleRuntime="nodejs14.x")["Layers"], [])
        # A function goes on with the layer that is deleted; others do not get it.
        shared.create(lambdas, "layered", Layers=[versions[0]["LayerVersionArn"]])
        lambdas.delete_layer_version(LayerName="library", VersionNumber=1)
        lambdas.delete_layer_version(LayerName="library", VersionNumber=1)
        self.refused("ResourceNotFoundException", 404, lambdas.get_layer_version, LayerName="library",
                     VersionNumber=1)
        self.assertEqual(lambdas.get_function_configuration(FunctionName="layered")["Layers"],
                         [{"Arn": versions[0]["LayerVersionArn"], "CodeSize": len(content)}])
        self.refused("InvalidParameterValueException", 400, shared.create, lambdas, "layered-too",
                     Layers=[versions[0]["LayerVersionArn"]])
        lambdas.delete_layer_version(LayerName="library", VersionNumber=2)
        self.assertEqual(lambdas.list_layer_versions(LayerName="library")["LayerVersions"], [])
        third = lambdas.publish_layer_version(LayerName="library", Content={"ZipFile": content})
        self.assertEqual(third["Version"], 3)
        lambdas.delete_layer_version(LayerName="library", VersionNumber=3)
        lambdas.delete_function(FunctionName="layered")

    def test_tags(self):
        lambdas = self.lambdas
        lambdas.tag_resource(Resource=arn("plain"), Tags={"b": "2", "ü": "ä ö"})
        self.assertEqual(lambdas.list_tags(Resource=arn("plain"))["Tags"],
                         {"a": "1", "b": "2", "ü": "ä ö"})
        lambdas.untag_resource(Resource=arn("plain"), TagKeys=["b", "ü"])
        self.assertEqual(lambdas.list_tags(Resource=arn("plain"))["Tags"], {"a": "1"})
        self.refused("InvalidParameterValueException", 400, lambdas.tag_resource, Resource=arn("plain"),
                     Tags={f"k{number}": "" for number in range(50)})
        self.refused("InvalidParameterValueException", 400, lambdas.tag_resource, Resource=arn("plain"),
                     Tags={"aws:mine": ""})
        self.refused("ResourceNotFoundException", 404, lambdas.list_tags, Resource=arn("nobody"))

    def test_pages(self):
        lambdas = self.lambdas
        names = [f"paged-{number:02}" for number in range(5)]
        for name in names:
            shared.create(lambdas, name)
        pages = list(lambdas.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
        self.assertTrue(all(len(page["Functions"]) <= 2 for page in pages))
        found = [function["FunctionName"] for page in pages for function in page["Functions"]]
        self.assertEqual([name for name in found if name.startswith("paged-")], names)
        self.assertEqual(len(found), len(set(found)))
        self.refused("InvalidParameterValueException", 400, lambdas.list_functions, Marker="no marker")
        for name in names:
            lambdas.delete_function(FunctionName=name)

    def test_pending(self):
        """A version whose snapshot is not there yet: it is in line behind the first's."""
        got = self.lambdas.get_function_configuration(FunctionName="actor", Qualifier="2")
        self.assertEqual((got["State"], got["StateReasonCode"]), ("Pending", "Creating"))
        self.refused("ResourceConflictException", 409, self.lambdas.invoke, FunctionName="actor",
                     Qualifier="2")

    def test_archives(self):
        """What is no archive, or a hostile one."""
        def packed(name, data=b"x", mode=0o644):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as made:
                info = zipfile.ZipInfo(name)
                info.external_attr = mode << 16
                made.writestr(info, data)
            return buffer.getvalue()

        good = daemon.archive("actor")
        for what in (b"PK\x03\x04", b"no archive", good[:-30], good[:100], packed("../../etc/passwd"),
                     packed("/etc/passwd")):
            self.refused("InvalidParameterValueException", 400, shared.create, self.lambdas, "hostile",
                         Code={"ZipFile": what})
        self.refused("ResourceNotFoundException", 404, self.lambdas.get_function, FunctionName="hostile")

    def test_refusals(self):
        lambdas = self.lambdas
        self.refused("ResourceConflictException", 409, shared.create, lambdas, "plain")
        self.refused("InvalidParameterValueException", 400, shared.create, lambdas, "s3",
                     Code={"S3Bucket": "bucket", "S3Key": "key"})
        self.refused("InvalidParameterValueException", 400, shared.create, lambdas, "large",
                     Environment={"Variables": {"LARGE": "x" * 4096}})
        self.refused("InvalidParameterValueException", 400, shared.create, lambdas, "reserved",
                     Environment={"Variables": {"AWS_REGION": "eu-west-1"}})
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            shared.create(lambdas, "machine", Runtime="python2.7")
        self.assertEqual(caught.exception.response["ResponseMetadata"]["HTTPStatusCode"], 400)

    @classmethod
    def tearDownClass(cls):
        cls.lambdas.delete_function(FunctionName="plain")
        cls.lambdas.close()
