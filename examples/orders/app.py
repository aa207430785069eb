# SPDX-License-Identifier: Apache-2.0
"""Prices an order: what a small web shop's function does.

Loading its price list takes real work and some 20 MB, once, at init. A snapshot taken after that
starts with the list in memory; two hooks keep what must not be shared between its copies.
"""

import datetime
import decimal
import hashlib
import json
import uuid

from snapshot_restore_py import register_after_restore, register_before_snapshot

CENT = decimal.Decimal("0.01")
VAT = {"DE": decimal.Decimal("0.19"), "FR": decimal.Decimal("0.20"), "US": decimal.Decimal("0")}
ARTICLES = 50_000

# Of this copy of the function.
instance = {"id": uuid.uuid4().hex, "restored": False}


def load_catalogue():
    """Article number -> (price in cents, weight in grams); and a digest of it all."""
    digest = hashlib.sha256()
    catalogue = {}
    descriptions = bytearray(16 << 20)  # a search index, say
    for number in range(ARTICLES):
        entry = (99 + number * 7919 % 20_000, 50 + number * 31 % 5_000)
        catalogue[f"A{number:05d}"] = entry
    for at in range(0, len(descriptions), 4096):
        descriptions[at] = at >> 12 & 255
    digest.update(descriptions)
    return catalogue, descriptions, digest.hexdigest()


CATALOGUE, DESCRIPTIONS, CATALOGUE_DIGEST = load_catalogue()


@register_before_snapshot
def forget():
    # Connections would be closed here.
    instance["id"] = None


@register_after_restore
def wake():
    # ... and opened here, with the copy's own randomness.
    instance.update(id=uuid.uuid4().hex, restored=True)


def price(order):
    total, grams, lines = decimal.Decimal(0), 0, []
    for item in order["items"]:
        cents, weight = CATALOGUE[item["article"]]
        quantity = int(item["quantity"])
        if not 1 <= quantity <= 1000:
            raise ValueError(f"quantity {quantity} of {item['article']}")
        amount = decimal.Decimal(cents) / 100 * quantity
        if quantity >= 10:
            amount *= decimal.Decimal("0.95")
        lines.append({"article": item["article"], "quantity": quantity,
                      "amount": str(amount.quantize(CENT))})
        total += amount
        grams += weight * quantity
    shipping = decimal.Decimal("4.90") if total < 100 else decimal.Decimal(0)
    net = (total + shipping).quantize(CENT)
    tax = (net * VAT.get(order["country"], decimal.Decimal(0))).quantize(CENT)
    return {"lines": lines, "grams": grams, "shipping": str(shipping.quantize(CENT)),
            "net": str(net), "tax": str(tax), "total": str(net + tax)}


def handler(event, context):
    order = event["order"]
    invoice = price(order)
    checksum = hashlib.sha256(json.dumps(invoice, sort_keys=True).encode()).hexdigest()
    return {
        "order": order["number"],
        "invoice": invoice,
        "checksum": checksum,
        "catalogue": CATALOGUE_DIGEST[:16],
        "receipt": str(uuid.uuid4()),
        "instance": instance["id"],
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "requestId": context.aws_request_id,
    }
