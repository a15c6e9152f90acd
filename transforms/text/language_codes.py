"""What languages are called: labels of models, ISO 639 codes, and which of them mean the same."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

#: the code that rows are known by -> other codes of the same language: ISO 639-1 (or what lid.176 has), then ISO 639-2
#: and 639-3, of a macrolanguage also its member that texts are in
_CODES = {
    code: others.split(",")
    for entry in (
        "aa:aar ab:abk af:afr ak:aka,twi,fat am:amh an:arg ar:ara,arb as:asm av:ava ay:aym,ayr az:aze,azj ba:bak",
        "be:bel bg:bul bh:bih bi:bis bm:bam bn:ben bo:bod,tib br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre",
        "cs:ces,cze cu:chu cv:chv cy:cym,wel da:dan de:deu,ger dv:div dz:dzo ee:ewe el:ell,gre en:eng eo:epo es:spa",
        "et:est,ekk eu:eus,baq fa:fas,per,pes ff:ful,fuv fi:fin fj:fij fo:fao fr:fra,fre fy:fry ga:gle gd:gla",
        "gl:glg gn:grn,gug gu:guj gv:glv ha:hau he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun hy:hye,arm hz:her ia:ina",
        "id:ind ie:ile ig:ibo ii:iii ik:ipk io:ido is:isl,ice it:ita iu:iku,ike ja:jpn jv:jav ka:kat,geo kg:kon,kng",
        "ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor kr:kau,knc ks:kas ku:kur,kmr kv:kom,kpv kw:cor ky:kir",
        "la:lat lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav,lvs mg:mlg,plt mh:mah mi:mri,mao mk:mkd,mac",
        "ml:mal mn:mon,khk mr:mar ms:msa,may,zsm mt:mlt my:mya,bur na:nau nd:nde ne:nep,npi ng:ndo nl:nld,dut",
        "nn:nno no:nb,nor,nob nr:nbl nv:nav ny:nya oc:oci oj:oji om:orm,gaz or:ori,ory os:oss pa:pan pi:pli pl:pol",
        "ps:pus,pbt pt:por qu:que,quy rm:roh rn:run ro:ron,rum ru:rus rw:kin sa:san sc:srd,sro sd:snd se:sme sg:sag",
        "sh:hbs si:sin sk:slk,slo sl:slv sm:smo sn:sna so:som sq:sqi,alb,als sr:srp ss:ssw st:sot su:sun sv:swe",
        "sw:swa,swh ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl,fil tn:tsn to:ton tr:tur ts:tso tt:tat ty:tah",
        "ug:uig uk:ukr ur:urd uz:uzb,uzn ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid,ydd yo:yor za:zha",
        "zh:zho,chi,cmn zu:zul",
    )
    for code, _, others in (pair.partition(":") for pair in entry.split())
}
_BY_OTHER = {other: code for code, others in _CODES.items() for other in others}
_WITH_SCRIPT = re.compile(r"([a-z]{2,3})_[A-Z][a-z]{3}")


def language_of(label: str) -> str:
    """The code that rows with this label are known by: `en` of `eng_Latn`, `zh` of `cmn_Hani`, `gsw` of `gsw_Latn`.

    A label without a script is a code already and stays as it is (`als` of lid.176 is Alemannic, not Albanian).
    """
    found = _WITH_SCRIPT.fullmatch(label)
    return _BY_OTHER.get(found[1], found[1]) if found else label


def code_of(name: str) -> str:
    """The code of what a person, a file or a classifier calls a language: `de` of de, DE, de-AT, deu and deu_Latn.

    A code of no language known here is its own. `als` without a script is Alemannic.
    """
    if _WITH_SCRIPT.fullmatch(name):
        return language_of(name)
    code = name.replace("-", "_").partition("_")[0].lower()
    return code if code == "als" else _BY_OTHER.get(code, code)


#: a parameter that names a language, in whatever way: it is known by its code
Code = Annotated[str, AfterValidator(code_of)]


def names_of(label: str) -> frozenset[str]:
    """All that a recipe may call a label: itself, its code with and without the script, and other codes of it."""
    found = _WITH_SCRIPT.fullmatch(label)
    language = language_of(label)
    same = {other for other in _CODES.get(language, ()) if other != "als" or found}
    return frozenset({label, found[1] if found else label, language} | same)
