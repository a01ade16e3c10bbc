from compressor.report.markup import element, percent_of, void


def test_what_is_put_into_an_element_is_escaped():
    made = element("span", {"title": 'a"b<c'}, "1 < 2 & 3")

    assert made == '<span title="a&#34;b&lt;c">1 &lt; 2 &amp; 3</span>'


def test_elements_in_elements_stay_elements():
    assert element("p", {}, element("b", {}, "<"), "&") == "<p><b>&lt;</b>&amp;</p>"


def test_a_void_element_has_no_end():
    assert void("input", {"value": 0.5}) == '<input value="0.5">'


def test_shares_become_lengths():
    assert [percent_of(share) for share in (0, 1 / 3, 1, 1e-9)] == ["0%", "33.3333%", "100%", "0%"]
