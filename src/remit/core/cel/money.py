"""Functions on amounts of money: exact, and never on floats.

Which decimals a currency has is from ISO 4217 (list one, minor units).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from remit.core.cel.conversions import parse_decimal
from remit.core.cel.functions import no_overload
from remit.core.cel.values import Budget, EvalError, UInt, exact

_TWO: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW"
    " CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF"
    " IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK"
    " MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP"
    " SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER"
    " ZAR ZMW ZWG"
)
_NONE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"
DECIMALS: Final = {
    code: places
    for places, codes in ((0, _NONE), (2, _TWO), (3, _THREE), (4, _FOUR))
    for code in codes.split()
}  # fmt: skip
"""How many decimals an amount in a currency has."""


def to_decimal(value: object, budget: Budget) -> Decimal:
    """An exact number from text or from an integer."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, UInt) or value.__class__ is int:
        return Decimal(int(value))
    if isinstance(value, str):
        return parse_decimal(value)
    raise no_overload("decimal", value)


def is_money_in(amount: object, currency: object, budget: Budget) -> bool:
    """Whether an amount can be paid in a currency: it has no more decimals than that has."""
    if not isinstance(currency, str) or isinstance(amount, bool) or not isinstance(amount, (Decimal, int)):
        raise no_overload("isMoneyIn", amount, currency)
    places = DECIMALS.get(currency)
    if places is None:
        raise EvalError(f"`{currency[:20]}` is not a currency of ISO 4217")
    number = Decimal(amount)
    if not number.is_finite():
        raise EvalError(f"`{number}` is not an amount")
    exponent = number.normalize(exact()).as_tuple().exponent if number else 0
    return isinstance(exponent, int) and -exponent <= places
