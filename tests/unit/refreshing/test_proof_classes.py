"""The proof tells by a column's name, in five languages and their abbreviations, or by its values, what it holds."""

import pytest

from seedtool.refreshing.proof.classes import classify
from tests.unit.generating.tables import column, table

NAMES = {
    "email": "email e_mail mail_address correo courriel EMailAdresse",
    "phone": "phone tel tel_no telefone celular telefonnummer handy portable mobil ph tlf phoneNumber",
    "national id": "ssn cpf nif rg nino nir dni tax_id numero_documento social_security_number personalausweisnummer"
    " passeport reisepass driver_license steuernummer",
    "first name": "first_name fname firstName prenom vorname primeiro_nome given_name nombres rufname",
    "last name": "last_name lname surname sobrenome apelido nom_famille nachname familienname apellidos ap_paterno",
    "full name": "full_name nome_completo nom_complet nombre_y_apellidos nom_prenom customer_name patientName",
    "birth date": "dob birth_date date_of_birth data_nascimento date_naissance geburtsdatum fec_nac bday gebdat dt_nasc",
    "address": "addr address addr1 address_line_1 street_address endereco adresse rue strasse anschrift morada logradouro",
    "account": "username login benutzername nom_utilisateur",
    "photo": "photo_key avatar_url foto_caminho bild_url image_path",
    None: "count title created_at ip_address mac_addr status portal ranking cifra nome_fantasia_do_jogo telemetry rural"
    " strassenbahn_linie document_number",
}


def told(*columns, of="things", **samples):
    roles = classify(table(1, of, columns, ()), samples)
    return {name: role.kind for name, role in roles.items()}


@pytest.mark.parametrize("kind", NAMES)
def test_a_columns_name_tells_what_it_holds(kind):
    names = NAMES[kind].split()
    found = told(*(column(name) for name in names))
    assert {name: found.get(name) for name in names} == dict.fromkeys(names, kind)


def test_beside_a_prenom_or_vorname_the_name_is_the_last_one():
    assert told(column("prenom"), column("nom")) == {"prenom": "first name", "nom": "last name"}
    assert told(column("vorname"), column("name"), of="kunden") == {"vorname": "first name", "name": "last name"}
    assert told(column("nom"), of="eleves") == {"nom": "full name"}
    assert told(column("nom"), of="villes") == {}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["078-05-1120", "219-09-9999"], "national id"),
        (["529.982.247-25", "111.444.777-35"], "national id"),
        (["12345678Z", "X1234567L"], "national id"),
        (["João Silva", "Mariana Costa", "Tiago Souza"], "full name"),
        (["Nathalie", "Pierre", "Julien"], "first name"),
        (["Jürgen Müller", "Sabine Weiß", "Uwe Koch"], "full name"),
        (["2024-01-05", "2024-02-06"], None),
        (["A-12-3456", "B-99-1234"], None),
    ],
)
def test_values_tell_what_a_column_without_such_a_name_holds(values, kind):
    assert told(column("c"), c=values).get("c") == kind
