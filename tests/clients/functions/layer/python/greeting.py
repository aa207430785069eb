# SPDX-License-Identifier: Apache-2.0
GREETING = "from a layer"
