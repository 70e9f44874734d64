"""An OpenAPI 3.x document becomes operations of a Ledger entry: bounded, local references only, nothing invented."""

from ledger.openapi.document import DocumentRefused, read_document
from ledger.openapi.operations import Draft, OpenApi, Skipped, read_operations
from ledger.openapi.proposal import Imported, Origin, Proposal, ProposalFailed, propose

__all__ = [
    "DocumentRefused",
    "Draft",
    "Imported",
    "OpenApi",
    "Origin",
    "Proposal",
    "ProposalFailed",
    "Skipped",
    "propose",
    "read_document",
    "read_operations",
]
