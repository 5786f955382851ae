"""What tests share: waiting and real services. No behaviour of the product lives here."""
